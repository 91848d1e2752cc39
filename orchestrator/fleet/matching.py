"""Which job an island gets: the heavier ones are left to the faster islands.

Jobs wait in the order of submission, the heaviest first. Who asks gets the first of them, but
leaves one to each faster island that lives and holds no job; it never goes without for that. With
as many jobs as islands this pairs the heaviest job with the fastest island, the second with the
second, and so on, in whatever order they ask. No pairing is done earlier: of two pairs that are the
other way round, an exchange never makes the later end later.

A job's weights are the same wherever it is trained, so only the time depends on this.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from cluster.provider import Node
from orchestrator.fleet.state import Change, Fleet, Job

_SPEED = 1.0  # of an island that nobody says anything of


def choice(fleet: Fleet, island: str, now: float) -> Job | None:
    """The job an island is to have; None if none is ready."""
    own = fleet.speeds.get(island, _SPEED)
    faster = (name for name, speed in fleet.speeds.items() if speed > own)
    num_faster = sum(fleet.held_by(name) is None for name in faster)
    ready = (job for job in fleet.jobs.waiting() if job.is_ready(now))
    heaviest = list(islice(ready, num_faster + 1))
    return heaviest[-1] if heaviest else None


def seen(fleet: Fleet, nodes: Iterable[Node]) -> Change:
    """Notes how fast the islands are whose nodes live."""
    if not fleet.policy.speeds:
        return Change()
    known = fleet.policy.speeds
    speeds = {node.island: known.get(node.provider, _SPEED) for node in nodes if node.alive}
    return Change(speeds=speeds) if speeds != fleet.speeds else Change()
