"""Whether a place is fit to start islands at: who fails is left alone for a while that doubles."""

from __future__ import annotations

from collections.abc import Mapping

from atoll.clock import Clock
from cluster.local import ending
from cluster.provider import Node

_YOUNG_S = 60.0  # an island that ends by itself before this age has failed to start
_PAUSE_S = 10.0
_MOST_PAUSE_S = 600.0
_MOST_FAILURES = 10  # that count
_LEFT = ending(0)  # as it was asked to


class Probation:
    """What is remembered of one place."""

    def __init__(self, clock: Clock) -> None:
        """Trust it, until it fails."""
        self._clock = clock
        self._failures = 0  # in a row
        self._not_before = 0.0
        self._started_at: dict[str, float] = {}  # of islands that may still turn out to be young

    @property
    def is_on(self) -> bool:
        """Whether nothing should be started there now."""
        return self._clock.monotonic() < self._not_before

    def started(self, island: str) -> None:
        """An island was started there."""
        self._started_at[island] = self._clock.monotonic()

    def failed(self) -> float:
        """An island could not be started there, or ended too soon.

        Returns:
            The pause until it is tried again, in seconds.
        """
        pause_s = min(_PAUSE_S * 2.0**self._failures, _MOST_PAUSE_S)
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._not_before = self._clock.monotonic() + pause_s
        return pause_s

    def ended_young(self, nodes: Mapping[str, Node]) -> list[str]:
        """The islands started there that ended too soon, unasked; each is told once.

        Args:
            nodes: all of the place, by island, as it tells now.

        Returns:
            A few words for each.
        """
        now, young = self._clock.monotonic(), []
        for island in self._started_at.keys() & nodes.keys():
            node = nodes[island]
            if node.waiting:
                self._started_at[island] = now
            elif now - self._started_at[island] >= _YOUNG_S:
                self._failures = 0
                del self._started_at[island]
            elif not node.alive:
                if not node.cleared and node.reason != _LEFT:
                    young.append(f"{island} {node.reason}")
                del self._started_at[island]
        return young
