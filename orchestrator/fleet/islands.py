"""The islands of a fleet: all that are alive, and the last of those that are gone.

A month on spot nodes sees tens of thousands come and go. What they did stands in the events; the
fleet itself need not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from immutables import Map

from orchestrator.fleet.ordered import Ordered

if TYPE_CHECKING:
    from orchestrator.fleet.state import Island

_MOST_GONE = 200


@dataclass(frozen=True, slots=True, eq=False)
class Islands(Mapping[str, "Island"]):
    """Islands by name, in order of appearance."""

    _islands: Ordered[Island] = field(default_factory=Ordered)
    _gone: Map[int, str] = field(default_factory=Map)  # names, numbered as they went
    _first: int = 0
    _next: int = 0

    def updated(self, islands: Iterable[Island]) -> Islands:
        """With some islands changed or added; the first of too many that are gone is forgotten."""
        after = self._islands.updated((island.name, island) for island in islands)
        gone, first, next_ = self._gone, self._first, self._next
        for island in islands:
            if island.state == "gone":
                gone, next_ = gone.set(next_, island.name), next_ + 1
        while next_ - first > _MOST_GONE:
            name = gone[first]
            gone, first = gone.delete(first), first + 1
            known = after.get(name)
            if known is not None and known.state == "gone":  # it may have come back
                after = after.without(name)
        return Islands(after, gone, first, next_)

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping; each call of an island comes here."""
        return self._islands.get(name, default)

    def __getitem__(self, name: str) -> Island:
        return self._islands[name]

    def __contains__(self, name: object) -> bool:
        return name in self._islands

    def __iter__(self) -> Iterator[str]:
        return iter(self._islands)

    def __len__(self) -> int:
        return len(self._islands)
