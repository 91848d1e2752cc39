"""Which islands of several nodes to complete again, so that those come back that were lost.

Pure: reads what the provider sees and the time; remembers in a value of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from immutables import Map

from cluster.provider import Node
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.state import Fleet

_MOST_PAUSE_S = 600.0
_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Gap:
    """An island that lacks nodes, or lacked some not long ago.

    Attributes:
        tries: how often it was completed.
        not_before: when it may be again, on the monotonic clock.
        whole_since: since when it lacks none; None while it does.
    """

    tries: int
    not_before: float
    whole_since: float | None = None


@dataclass(frozen=True, slots=True)
class Mending:
    """What is remembered from one look to the next: islands with gaps, by name."""

    gaps: Map[str, Gap] = field(default_factory=Map)


def look(
    mending: Mending, fleet: Fleet, nodes: Iterable[Node], backoff_s: float, now: float
) -> tuple[Mending, tuple[str, ...]]:
    """Which islands to submit once more.

    Each waits a while first, because the nodes of one that leaves do not end in the same moment;
    then twice as long each time, until it was whole for as long as it had last waited.

    Args:
        mending: what is remembered.
        fleet: whose islands may be leaving.
        nodes: as the provider sees them.
        backoff_s: pause before the first try.
        now: on the monotonic clock.
    """
    gaps: Map[str, Gap] = Map()
    due = []
    for node in nodes:
        gap = mending.gaps.get(node.island)
        if not node.alive or (gap is None and not node.missing):
            continue
        if not node.missing:
            assert gap is not None
            since = now if gap.whole_since is None else gap.whole_since
            if now - since < _pause_s(backoff_s, gap.tries):
                gaps = gaps.set(node.island, replace(gap, whole_since=since))
            continue
        gap = replace(gap, whole_since=None) if gap else Gap(0, now + backoff_s)
        known = fleet.islands.get(node.island)
        is_wanted = not (fleet.is_settled or fleet.draining or (known and known.leaving))
        if is_wanted and now >= gap.not_before:
            due.append(node.island)
            gap = Gap(gap.tries + 1, now + _pause_s(backoff_s, gap.tries + 1))
        gaps = gaps.set(node.island, gap)
    return Mending(gaps), tuple(due)


def _pause_s(backoff_s: float, tries: int) -> float:
    return min(backoff_s * 2.0 ** min(tries, _DOUBLINGS), _MOST_PAUSE_S)
