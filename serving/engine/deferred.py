"""Experts that answer later, because they are somewhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from serving.engine.stretch import Stretch


class Answer(Protocol):
    """What an expert says, once it does."""

    def done(self) -> bool:
        """Whether it has spoken, or never will."""
        ...

    def cancel(self) -> object:
        """Nobody waits for it any more."""
        ...

    def result(self) -> Tensor:
        """Velocity, (B, C, H, W). Raises: whatever has kept it from answering."""
        ...


@runtime_checkable
class Deferred(Protocol):
    """A velocity field that may be asked without waiting for it."""

    def begin(
        self, x_t: Tensor, t: Tensor, cond: Tensor | None, told: Callable[[], None]
    ) -> Answer:
        """Ask; returns at once.

        Args:
            x_t: see :class:`experts.flow.VelocityField`, and so the others.
            t: likewise.
            cond: likewise.
            told: called when it is answered, in any thread.
        """
        ...


@runtime_checkable
class Drawing(Deferred, Protocol):
    """One that may be asked to draw images for a while, alone."""

    def begin_stretch(self, stretch: Stretch, told: Callable[[], None]) -> Answer:
        """Ask; returns at once.

        Args:
            stretch: what is to be drawn.
            told: called when it is answered, in any thread.

        Returns:
            Velocities, (E, R, C, H, W), of one evaluation at least and not more than were asked
            for: of all images, and then once more of those that are guided.
        """
        ...
