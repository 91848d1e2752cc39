"""What was seen of islands from one look to the next, and what a provider tells of them by it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from atoll.clock import Clock
from cluster.kubernetes.sight import Sight
from cluster.provider import Node

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Memory:
    """What is remembered of one island.

    Attributes:
        since: when it was seen first, on the monotonic clock.
        begun: whether a pod of it has run.
        waits_for: as told last, in words.
        notice: that it is taken away, in words; its pods are gone soon after.
        end: how it ended, in words.
    """

    since: float
    begun: bool = False
    waits_for: str = ""
    notice: str = ""
    end: str = ""


class Watch:
    """Remembers islands: pods are gone soon after their end, JobSets when somebody deletes them."""

    def __init__(self, start_s: float, clock: Clock) -> None:
        """Begin with nothing.

        Args:
            start_s: time in which an island must begin.
            clock: for it.
        """
        self._start_s = start_s
        self._clock = clock
        self._memories: dict[str, _Memory] = {}
        self._cancelled: set[str] = set()

    def cancelled(self, island: str) -> None:
        """From now on its end is no news."""
        self._cancelled.add(island)

    def was_cancelled(self, island: str) -> bool:
        """Whether it was."""
        return island in self._cancelled

    def nodes(self, sights: Mapping[str, Sight]) -> tuple[Node, ...]:
        """All islands, of which there is something in the cluster or was before."""
        seen = [self._node(island, sight) for island, sight in sights.items()]
        vanished = [name for name in self._memories if name not in sights]
        return (*seen, *(self._dead(name, "its JobSet was deleted") for name in vanished))

    def _node(self, island: str, sight: Sight) -> Node:
        now = self._clock.monotonic()
        memory = self._memories.setdefault(island, _Memory(since=now))
        memory.notice = sight.notice if sight.pods else memory.notice
        if not sight.is_alive:
            return self._dead(island, sight.obstacle or sight.end, is_leaving=sight.is_leaving)
        is_new, memory.waits_for = sight.waits_for != memory.waits_for, sight.waits_for
        if is_new and memory.waits_for:
            log.info("waits", extra={"fields": {"island": island, "for": memory.waits_for}})
        memory.begun = memory.begun or not sight.is_waiting
        if memory.begun:
            return Node(island, alive=True)
        if now - memory.since > self._start_s:
            waiting = f"waiting for {memory.waits_for or 'a pod'}"
            return self._dead(island, f"it did not begin in {self._start_s:g} s, {waiting}")
        return Node(island, alive=True, waiting=True)

    def _dead(self, island: str, end: str, *, is_leaving: bool = False) -> Node:
        memory = self._memories[island]
        memory.end = memory.end or memory.notice or end
        cleared = is_leaving or self.was_cancelled(island)
        return Node(island, alive=False, reason=memory.end, cleared=cleared)
