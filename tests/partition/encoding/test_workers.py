import os
import subprocess
import sys
from pathlib import Path

import psutil

# Two processes that say who they are once they work, and would go on for ever.
PROGRAM = """
import os
import sys
import time
from pathlib import Path
from atoll.blobs import open_store
from atoll.cache_section import CacheSection
from partition.encoding.workers import Task, encoded
from partition.manifest import Shard


class Endless:
    name = "latents"

    def open(self, *_):
        print(os.getpid(), flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    blobs = [open_store(sys.argv[1]).put_bytes(f"shard-{each}", b"x") for each in range(2)]
    shards = [Shard(blob.key, blob.digest, 1, blob.size_bytes) for blob in blobs]
    here = Path(sys.argv[1])
    task = Task(sys.argv[1], CacheSection(), Endless(), here, here, threads=1)
    list(encoded(task, shards, workers=2))
"""


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, or waits for nothing but to be reaped by whoever has adopted it."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_processes_that_encode_end_with_who_has_started_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        told = [parent.stdout.readline() for _ in range(2)]  # both are up, which takes long
        workers = [psutil.Process(int(each)) for each in told]
        parent.kill()
    try:
        psutil.wait_procs(workers, timeout=30)
        assert all(map(is_gone, workers))
    finally:
        for process in workers:
            if not is_gone(process):
                process.kill()
