"""Experts that answer later, because they are somewhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor


class Answer(Protocol):
    """What an expert says, once it does."""

    def done(self) -> bool:
        """Whether it has spoken, or never will."""
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
