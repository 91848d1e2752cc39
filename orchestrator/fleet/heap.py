"""A frozen priority queue: a pairing heap of tuples, whose changed copies share what stays.

Source: M. L. Fredman, R. Sedgewick, D. D. Sleator, R. E. Tarjan, "The pairing heap: a new form of
self-adjusting heap" (1986); as told by C. Okasaki, "Purely Functional Data Structures" (1998),
section 5.5. Adding costs the same whatever is there; taking the first one away is logarithmic on
the mean over all, as long as no former copy is used once more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Entry: TypeAlias = tuple[float, str, int]  # when, which job, under which epoch


class Heap(NamedTuple):
    """The earliest entry, above heaps of all others.

    Attributes:
        below: the first of those heaps, and the rest of them likewise.
    """

    first: Entry
    below: _Heaps = None


_Heaps: TypeAlias = tuple[Heap, "_Heaps"] | None


def pushed(heap: Heap | None, entry: Entry) -> Heap:
    """With one entry more."""
    return Heap(entry) if heap is None else _merged(Heap(entry), heap)


def popped(heap: Heap) -> Heap | None:
    """Without its first entry."""
    pairs: list[Heap] = []
    left = heap.below
    while left is not None:
        one, left = left
        if left is not None:
            other, left = left
            one = _merged(one, other)
        pairs.append(one)
    return functools.reduce(_merged, reversed(pairs)) if pairs else None


def until(heap: Heap | None, last: float) -> Iterator[Entry]:
    """The entries no later than ``last``, in no order; touches few others."""
    open_: list[_Heaps] = [None if heap is None else (heap, None)]
    while open_:
        left = open_.pop()
        while left is not None:
            top, left = left
            if top.first[0] <= last:
                yield top.first
                open_.append(top.below)


def _merged(one: Heap, other: Heap) -> Heap:
    if other.first < one.first:
        one, other = other, one
    return Heap(one.first, (other, one.below))
