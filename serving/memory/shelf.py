"""The experts of one edition in a memory that other editions share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from experts.flow import VelocityField
from serving.memory.holdings import Demand
from serving.memory.source import Source

if TYPE_CHECKING:  # which hands shelves out
    from serving.memory.residency import Residency


class Shelf:
    """See :class:`serving.engine.model.Experts`: what the residency knows by key, by number."""

    def __init__(self, residency: Residency, sources: Sequence[Source]) -> None:
        """Take a share of the memory.

        Args:
            residency: the memory.
            sources: of all experts, in the order of their numbers.

        Raises:
            BadInput: there is no room for the largest of them.
        """
        self._residency, self._sources = residency, tuple(sources)
        self._demand: Demand | None = residency.admit(self._sources)

    @property
    def num(self) -> int:
        """See :class:`serving.engine.model.Experts`."""
        return len(self._sources)

    @property
    def resident(self) -> Mapping[int, VelocityField]:
        """See :class:`serving.engine.model.Experts`."""
        fields = self._residency.resident
        return {it.expert: fields[it.key] for it in self._sources if it.key in fields}

    @property
    def lost(self) -> Collection[int]:
        """See :class:`serving.engine.model.Experts`."""
        keys = self._residency.lost
        return {it.expert for it in self._sources if it.key in keys}

    def tell(
        self,
        used: Collection[int],
        wanted: Sequence[int],
        later: Sequence[int],
        soon: Sequence[int],
    ) -> None:
        """See :class:`serving.engine.model.Experts`."""
        if self._demand:
            expected = self._of(soon) or self._sources  # whoever fits, where nobody can tell
            self._residency.tell(
                self._demand, self._keys(used), self._of(wanted), self._of(later), expected
            )

    def spare(self, needed: Collection[int]) -> None:
        """See :class:`serving.engine.model.Experts`."""
        self._residency.spare(self._keys(needed))

    def open(self) -> None:
        """Take a share again, unless there is one."""
        if self._demand is None:
            self._demand = self._residency.admit(self._sources)

    def close(self) -> None:
        """Give the share back: its experts leave memory."""
        if self._demand:
            self._residency.dismiss(self._demand)
            self._demand = None

    def _of(self, experts: Sequence[int]) -> tuple[Source, ...]:
        return tuple(self._sources[expert] for expert in experts)

    def _keys(self, experts: Collection[int]) -> set[str]:
        return {self._sources[expert].key for expert in experts}
