"""Where experts are held: in the memory of this process, or by servers elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serving.engine.model import Experts
from serving.memory.source import Source


class Share(Experts, Protocol):
    """The experts of one edition."""

    def open(self) -> None:
        """Have them held again, unless they are."""
        ...

    def close(self) -> None:
        """Have them held no more."""
        ...


class Holder(Protocol):
    """Holds the experts of several editions."""

    @property
    def is_alive(self) -> bool:
        """Whether experts that are waited for may come."""
        ...

    def share(self, sources: Sequence[Source]) -> Share:
        """Hold the experts of one more edition.

        Args:
            sources: of all of them, in the order of their numbers.

        Raises:
            BadInput: there is no room for the largest of them.
        """
        ...

    def close(self) -> None:
        """Hold none any more."""
        ...
