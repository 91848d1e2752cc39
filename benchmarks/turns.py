"""Contestants that train in turns, each in a process of its own: its memory is its own as well."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from resident import forget_peak, peak_bytes


@dataclass(frozen=True)
class Turn:
    """What a turn took.

    Attributes:
        wall_s: of a step, by the clock on the wall.
        cpu_s: of a step, of all processors together.
        peak_bytes: most memory so far, beyond what there was before anything was built.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


class Turns:
    """The side of the contestant, to be made when all is imported and nothing is built.

    Attributes:
        spent_s: in all turns so far.
    """

    def __init__(self, link: Connection) -> None:
        self._link, self._before_bytes = link, forget_peak()
        self.spent_s = 0.0
        self._begin()

    def over(self) -> bool:
        """Take note of a step, and wait after the last of a turn; whether no turn follows."""
        self._left -= 1
        if not self._left:
            self._end()
            self._begin()
        return not self._left

    def _begin(self) -> None:
        self._num = self._left = self._link.recv()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def _end(self) -> None:
        wall_s = time.perf_counter() - self._wall
        cpu_s = time.process_time() - self._cpu
        self.spent_s += wall_s
        grown_bytes = peak_bytes() - self._before_bytes
        self._link.send(Turn(wall_s / self._num, cpu_s / self._num, grown_bytes))


class Contestant:
    """One that trains when it is told to.

    Args:
        compete: what it does in its process, given the link for its :class:`Turns`; it returns what
            it has to tell at the end.
        arguments: of it, before the link.
    """

    def __init__(self, compete: Callable[..., dict[str, Any]], *arguments: Any) -> None:
        context = get_context("spawn")
        self._link, other = context.Pipe()
        self._process = context.Process(target=_work, args=(compete, arguments, other), daemon=True)
        self._process.start()
        other.close()  # so that its end is noticed here

    def turn(self, num_steps: int) -> Turn:
        """Let it make so many steps while everybody else waits."""
        self._link.send(num_steps)
        turn: Turn = self._link.recv()
        return turn

    def leave(self) -> dict[str, Any]:
        """Let it end; what it has to tell."""
        self._link.send(0)
        told: dict[str, Any] = self._link.recv()
        self._process.join()
        return told


def _work(
    compete: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], link: Connection
) -> None:
    link.send(compete(*arguments, link))
