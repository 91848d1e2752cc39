"""The nodes of a cluster: folders, each the home of the processes that run there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Nodes:
    def __init__(self, folder: Path, num: int) -> None:
        """Make them in a folder, in which stands also what their job writes."""
        names = ["head", *(f"worker{rank}" for rank in range(1, num))] if num > 1 else ["."]
        self._homes = [folder / name for name in names]
        for home in self._homes:
            home.mkdir(parents=True, exist_ok=True)
        self._log = folder / "job.log"

    def mount(self, files: dict[str, str]) -> None:
        """Copy files to each, as rsync does, with their modes."""
        for home in self._homes:
            for there, here in files.items():
                target = home / there.removeprefix("~/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(here, target)

    def run(self, lines: str, speakers: list[str]) -> list[int]:
        """Run lines of a shell on each; where they fail on one, the others are killed."""
        running, readers = [], []
        for rank, home in enumerate(self._homes):
            process = subprocess.Popen(
                ["bash", "-c", lines],
                env=self._environment(rank),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            speaker = speakers[rank].format(pid=process.pid, ip=_ip_of(rank))
            readers.append(threading.Thread(target=self._listen, args=(process, speaker)))
            readers[-1].start()
            running.append(process)
        while any(process.poll() is None for process in running):
            if any(process.poll() for process in running):
                for process in running:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.05)
        for reader in readers:
            reader.join()
        codes = [process.returncode for process in running]
        return [code if code >= 0 else 128 - code for code in codes]

    def tell(self, line: str) -> None:
        """Add to what their job wrote."""
        with self._log.open("a") as log:
            log.write(line + "\n")

    def _listen(self, process: subprocess.Popen[str], speaker: str) -> None:
        assert process.stdout
        for line in process.stdout:
            self.tell(f"\x1b[36m({speaker})\x1b[0m {line.rstrip()}")

    def _environment(self, rank: int) -> dict[str, str]:
        num = len(self._homes)
        return {
            **os.environ,
            "HOME": str(self._homes[rank]),
            "SKYPILOT_NODE_RANK": str(rank),
            "SKYPILOT_NUM_NODES": str(num),
            "SKYPILOT_NODE_IPS": "\n".join(map(_ip_of, range(num))),
        }


def _ip_of(rank: int) -> str:
    return f"10.0.0.{rank + 4}"


def end(home: Path) -> None:
    """One node, or all of a cluster, with whatever runs at home there."""

    def is_at_home(environment: dict[str, str]) -> bool:
        own = Path(environment.get("HOME", "/"))
        return home in (own, own.parent)

    kill(is_at_home)
    shutil.rmtree(home, ignore_errors=True)


def kill(belongs: Callable[[dict[str, str]], bool]) -> None:
    """The processes that are known by their environment."""
    import psutil  # half of what a call would take

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if belongs(process.environ()):
                process.kill()
