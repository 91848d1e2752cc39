"""A job as Slurm tells of it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cluster.local import ending

# What squeue is asked of each job, and how many characters it may take.
FIELDS = {
    "JobID": 32,
    "Name": 128,
    "StateCompact": 8,
    "RestartCnt": 8,
    "exit_code": 16,
    "Comment": 160,
}
_WAITING = {"PD", "CF", "RQ", "RH", "RF", "RS", "SE"}
_ENDED = {
    "BF": "its node did not boot",
    "CA": "it was cancelled",
    "CD": "",  # by itself: told by its exit code
    "DL": "its deadline has passed",
    "F": "",
    "NF": "its node failed",
    "OOM": "it ran out of memory",
    "PR": "it was preempted",
    "TO": "its time limit has come",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One of them.

    Attributes:
        number: by which commands know it.
        name: of the island that it was submitted for.
        state: in Slurm's short form.
        restarts: how often Slurm has started it again.
        status: as ``wait`` gives it; 0 while it has not ended.
        comment: tells run and key.
    """

    number: str
    name: str
    state: str
    restarts: int
    status: int
    comment: str

    @property
    def island(self) -> str:
        """Which island it is now."""
        return f"{self.name}.{self.restarts}" if self.restarts else self.name

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs, and nothing will."""
        return self.state in _ENDED

    @property
    def is_waiting(self) -> bool:
        """Whether it stands in the queue."""
        return self.state in _WAITING

    @property
    def reason(self) -> str:
        """How it ended, in words; "" before that."""
        if not self.is_over:
            return ""
        return _ENDED[self.state] or ending(os.waitstatus_to_exitcode(self.status))


def parsed(line: str) -> Job:
    """A job from squeue's line, in columns of :data:`FIELDS`."""
    values, begin = [], 0
    for width in FIELDS.values():
        values.append(line[begin : begin + width].strip())
        begin += width
    number, name, state, restarts, status, comment = values
    return Job(number, name, state, int(restarts or 0), int(status or 0), comment)
