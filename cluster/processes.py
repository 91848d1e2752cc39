"""Processes that outlive who started them, and are told apart from later ones with their number."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_DYING_S = 10.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process: its number, and when it was born, because numbers are used again.

    Attributes:
        pid: the process number.
        born: what no later process with this number shares.
    """

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now. Raises: psutil.NoSuchProcess."""
        return cls(pid, _birth(pid))

    def find(self) -> psutil.Process | None:
        """The living process; None once it is dead, even if nobody collected it yet."""
        try:
            process = psutil.Process(self.pid)
            same = _birth(self.pid) == self.born
        except psutil.NoSuchProcess:
            return None
        return process if same and not _is_dead(process) else None


def working_in(folder: Path) -> list[psutil.Process]:
    """The processes whose ``--work-dir`` is a folder or lies below it, and their descendants."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _works_in(process.cmdline(), folder):
                found |= {process, *process.children(recursive=True)}
    return list(found)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes and wait until they are dead; collecting them is left to their parents."""
    doomed = list(processes)
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    give_up_at = time.monotonic() + _DYING_S
    while any(not _is_dead(process) for process in doomed) and time.monotonic() < give_up_at:
        time.sleep(0.01)


class Detached:
    """A process in a session of its own, which goes on when its parent ends."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """Start it without input; what it writes is appended to ``log``. Raises: OSError."""
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child.returncode = 0  # else Popen would complain that nobody waited for it
        self.pid = child.pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._code is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


def _birth(pid: int) -> str:
    """When a process began, by a clock that nobody sets. Raises: psutil.NoSuchProcess."""
    if not psutil.LINUX:
        return str(psutil.Process(pid).create_time())
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid) from error
    # The second field is a name that may hold spaces; the start, in ticks since boot, is the 22nd.
    ticks = stat.rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{boot}/{ticks}"


def _is_dead(process: psutil.Process) -> bool:
    """Whether its last thread has ended; while others still end, nobody is told how it did."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def _works_in(command: list[str], folder: Path) -> bool:
    return any(
        option == "--work-dir" and Path(value).is_relative_to(folder)
        for option, value in itertools.pairwise(command)
    )
