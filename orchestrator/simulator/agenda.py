"""What is still to come, in order: the virtual clock."""

from __future__ import annotations

import contextlib
import gc
import heapq
import sys
from collections.abc import Callable, Iterator
from typing import Any

LAST = sys.maxsize  # a number after that of every island


class Agenda:
    """A queue of actions, each with the time at which it is due."""

    def __init__(self) -> None:
        """Begin with nothing to come."""
        self._queue: list[tuple[float, int, int, Callable[[Any, float], None], Any]] = []
        self._num_queued = 0

    def add(
        self, when: float, action: Callable[[Any, float], None], argument: Any, number: int
    ) -> None:
        """Call ``action(argument, when)``; of those due together the lowest number comes first."""
        self._num_queued += 1
        heapq.heappush(self._queue, (round(when, 6), number, self._num_queued, action, argument))

    def play(self, is_over: Callable[[], bool], max_s: float) -> float:
        """Let time pass until all is over; returns when that was, or ``max_s`` if it never was."""
        now = 0.0
        with _no_collector():
            while not is_over():
                at, _, _, action, argument = heapq.heappop(self._queue)
                if at > max_s:
                    return max_s
                now = at
                action(argument, now)
        return now


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Frozen values hold no circles: looking for some among all of them is a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
