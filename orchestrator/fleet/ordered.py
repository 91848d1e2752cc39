"""A frozen mapping that remembers the order of its keys, and changes one entry in a microsecond.

A changed copy shares all but a few small nodes with the original (a hash array mapped trie, from
the library immutables), so a fleet of ten thousand is not copied for each heartbeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from immutables import Map

V = TypeVar("V")


class Ordered(Mapping[str, V]):
    """Values by name, in the order in which the names first came. Reading all of it sorts."""

    __slots__ = ("_entries", "_next")

    def __init__(
        self,
        entries: Map[str, tuple[int, V]] = Map(),  # noqa: B008 - frozen
        next_: int = 0,
    ) -> None:
        """Hold entries that are there already; :meth:`updated` makes others."""
        self._entries = entries
        self._next = next_  # how many names ever came

    def updated(self, items: Iterable[tuple[str, V]]) -> Ordered[V]:
        """With some values set: an old name keeps its place, a new one comes last."""
        entries, next_ = self._entries, self._next
        for name, value in items:
            before = entries.get(name)
            if before is None:
                entries, next_ = entries.set(name, (next_, value)), next_ + 1
            else:
                entries = entries.set(name, (before[0], value))
        return Ordered(entries, next_)

    def without(self, name: str) -> Ordered[V]:
        """Without a name that is there; the others keep their places."""
        return Ordered(self._entries.delete(name), self._next)

    def place(self, name: str) -> int:
        """How many names came before this one."""
        return self._entries[name][0]

    def __getitem__(self, name: str) -> V:
        return self._entries[name][1]

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping; half the calls of an orchestrator come here."""
        entry = self._entries.get(name)
        return default if entry is None else entry[1]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries, key=self.place))

    def __len__(self) -> int:
        return len(self._entries)
