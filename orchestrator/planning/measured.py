"""The pace of a run that has trained, from the times of its checkpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from atoll.types import CheckpointRecord


@dataclass(frozen=True, slots=True)
class Measured:
    """What jobs of one kind took.

    Attributes:
        steps: between checkpoints of one lease, of all jobs together.
        seconds: that these took, checkpoints included.
    """

    steps: int
    seconds: float

    @property
    def step_s(self) -> float:
        """Of one step, on the mean."""
        return self.seconds / self.steps


def measured(jobs: Iterable[tuple[str, Sequence[CheckpointRecord]]]) -> dict[str, Measured]:
    """The pace of each kind of job.

    The way to the first checkpoint of a lease is left out, since a trainer has to start first.

    Args:
        jobs: the kind of each job, as :class:`orchestrator.planning.work.Part` names it, with all
            checkpoints that were ever committed for it.

    Returns:
        By kind; without those of which no lease made two checkpoints.
    """
    found: dict[str, Measured] = {}
    for kind, records in jobs:
        ordered = sorted(records, key=lambda record: (record.ref.epoch, record.ref.step))
        for before, after in pairwise(ordered):
            if before.ref.epoch == after.ref.epoch and after.at > before.at:
                known = found.get(kind, Measured(0, 0.0))
                steps = known.steps + after.ref.step - before.ref.step
                found[kind] = Measured(steps, known.seconds + after.at - before.at)
    return found
