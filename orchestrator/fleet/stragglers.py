"""Which jobs lag behind their peers: on a slow node one expert holds up the whole ensemble."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from atoll.types import JobState
from atoll.views import JobView

_SLOW = 0.5  # of the median pace
_FEWEST = 3  # of two nobody can say which is the slow one


def lagging(jobs: Iterable[JobView]) -> dict[str, float]:
    """Pace of those that make less than half as many samples a second as the median of their role.

    Args:
        jobs: of one run.

    Returns:
        Share of the median, by name of the job.
    """
    paces: dict[str, dict[str, float]] = defaultdict(dict)
    for job in jobs:
        if job.state is JobState.LEASED and job.progress.samples_per_s > 0:
            paces[job.spec.role][job.spec.name] = job.progress.samples_per_s
    found: dict[str, float] = {}
    for of_role in paces.values():
        middle = median(of_role.values())
        if len(of_role) >= _FEWEST:
            slow = {name: pace for name, pace in of_role.items() if pace < _SLOW * middle}
            found |= {name: pace / middle for name, pace in slow.items()}
    return found
