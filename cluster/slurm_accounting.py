"""Jobs that ended while nobody looked, and that squeue has forgotten since: ``sacct`` knows them.

The controller keeps ended jobs for some minutes (``MinJobAge``), the accounting for good, where a
cluster has one. Comments are seldom among what it keeps, so the number of each job is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from atoll.errors import IslandError
from cluster.local import WORK
from cluster.slurm_job import Job

_NOTE = "job"  # in the folder of its island
_SHORT = {
    "BOOT_FAIL": "BF",
    "CANCELLED": "CA",
    "COMPLETED": "CD",
    "DEADLINE": "DL",
    "FAILED": "F",
    "NODE_FAIL": "NF",
    "OUT_OF_MEMORY": "OOM",
    "PREEMPTED": "PR",
    "TIMEOUT": "TO",
}


def note(home: Path, number: str, comment: str) -> None:
    """Remember the job of an island.

    Args:
        home: its folder.
        number: of the job.
        comment: of the job.
    """
    with suppress(OSError):  # the job is submitted, and does without
        (home / _NOTE).write_text(f"{number} {comment}")


class Accounting:
    """What is asked of it: each job once, since many clusters have none."""

    def __init__(self, folder: Path, comments: str, run: Callable[[list[str]], str]) -> None:
        """Ask nothing yet.

        Args:
            folder: of the islands.
            comments: how those of the run's jobs begin.
            run: what a command of Slurm's prints; raises IslandError.
        """
        self._folder = folder
        self._comments = comments
        self._run = run
        self._open: Mapping[str, Job] | None = None  # by number: not known to have ended
        self._ended: Sequence[Job] = ()

    def ended(self, by_squeue: Iterable[Job]) -> Sequence[Job]:
        """Jobs that are over, of those that squeue does not tell of any more.

        Args:
            by_squeue: those that it does tell of.
        """
        before = self._noted() if self._open is None else self._open
        now = {job.number: job for job in by_squeue if job.comment.startswith(self._comments)}
        self._open = {number: job for number, job in now.items() if not job.is_over}
        forgotten = {number: job for number, job in before.items() if number not in now}
        if forgotten:
            with suppress(IslandError):
                self._ended = (*self._ended, *self._asked(forgotten))
        return self._ended

    def _noted(self) -> Mapping[str, Job]:
        """Jobs of former orchestrators that nobody has tidied up after."""
        jobs = {}
        for file in self._folder.glob(f"*/{_NOTE}"):
            number, _, comment = file.read_text().partition(" ")
            work = file.with_name(WORK)
            if comment.startswith(self._comments) and work.exists():
                jobs[number] = Job(number, file.parent.name, "", _restarts(work), 0, comment)
        return jobs

    def _asked(self, jobs: Mapping[str, Job]) -> Sequence[Job]:
        """Those of them that the accounting calls ended. Raises: IslandError, there is none."""
        asked = ["sacct", "--noheader", "--parsable2", "--allocations"]
        asked += [f"--jobs={','.join(jobs)}", "--format=JobID,JobName,State,ExitCode"]
        ended = []
        for line in self._run(asked).splitlines():
            number, name, state, code = line.split("|")
            short = _SHORT.get(state.partition(" ")[0])  # CANCELLED by 1000
            job = jobs.get(number)
            # Numbers are used again where a cluster begins to count anew.
            if short and job and job.name == name:
                ended.append(replace(job, state=short, status=_status(code)))
        return ended


def _restarts(work: Path) -> int:
    """Of the start that was the last to begin, which has a folder of its own."""
    return max((int(start.suffix[1:]) for start in work.glob("start.*")), default=0)


def _status(code: str) -> int:
    """As ``wait`` gives it, of an exit code and a signal, as in 1:0."""
    exited, _, signal = code.partition(":")
    return int(exited) << 8 | int(signal)
