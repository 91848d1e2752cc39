import os
import subprocess
import sys
from pathlib import Path

from partition.scratch import scratch

PROGRAM = """
import sys, time
from pathlib import Path
from partition.scratch import scratch

with scratch(Path(sys.argv[1]), "partition") as folder:
    (folder / "spool").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_folder_is_gone_after_use_and_no_other_is(tmp_path: Path) -> None:
    (tmp_path / "partition-of-mine").mkdir()
    with scratch(tmp_path, "partition") as folder:
        (folder / "spool").write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["partition-of-mine"]


def test_folder_that_a_killed_process_has_left_is_deleted_and_one_in_use_is_not(
    tmp_path: Path,
) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with scratch(tmp_path, "partition"):
            assert (left / "spool").exists()
        other.kill()
    assert (left / "spool").exists()
    with scratch(tmp_path, "encode"):
        assert (left / "spool").exists()
    with scratch(tmp_path, "partition") as folder:
        assert list(tmp_path.iterdir()) == [folder]
