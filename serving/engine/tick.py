"""What the engine and its memory tell those who measure: numbers alone, of no request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of an engine has ended.

    Attributes:
        engine: a number of its own; several tick while editions change.
        seconds: it took.
        rows: that each of the K experts was given; a guided image is two.
        num_gated: rows that the gate looked at.
        num_stepped: images that have made a step.
        num_drawn: images in progress, once it had ended.
        num_queued: images that wait for a slot.
        missed: steps that were made without each of the K experts, because it cannot be had.
        unused: rows that each of the K experts, elsewhere, has evaluated in vain, see
            :mod:`serving.engine.ahead`.
    """

    engine: int
    seconds: float
    rows: tuple[int, ...]
    num_gated: int
    num_stepped: int
    num_drawn: int
    num_queued: int
    missed: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Came:
    """An expert is in memory now.

    Attributes:
        expert: its number.
        seconds: that it took to bring it there.
        num_bytes: that it takes.
        from_host: whether its file did not need to be read again.
    """

    expert: int
    seconds: float
    num_bytes: int
    from_host: bool


@dataclass(frozen=True, slots=True)
class Left:
    """An expert has left memory, for its number."""

    expert: int


Watch = Callable[[Tick | Came | Left], None]


def nobody(told: Tick | Came | Left) -> None:
    """Measures nothing."""
