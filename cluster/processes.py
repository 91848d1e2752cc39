"""Processes, told apart from later ones that were given the same number."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process: its number, and when it was created, because numbers are used again.

    Attributes:
        pid: the process number.
        created: seconds since the Unix epoch, as the kernel tells it.
    """

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now. Raises: psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The living process; None once it is dead, even if nobody collected it yet."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.01
            alive = same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


def working_in(folder: Path) -> list[psutil.Process]:
    """The processes whose ``--work-dir`` is a folder or lies below it, and their descendants."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _works_in(process.cmdline(), folder):
                found |= {process, *process.children(recursive=True)}
    return list(found)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes and wait until they are dead."""
    doomed = list(processes)
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(doomed, timeout=10)


def _works_in(command: list[str], folder: Path) -> bool:
    return any(
        option == "--work-dir" and Path(value).is_relative_to(folder)
        for option, value in itertools.pairwise(command)
    )
