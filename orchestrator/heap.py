"""A frozen priority queue: a leftist heap of tuples, whose changed copies share what stays.

Source: C. A. Crane, "Linear lists and priority queues as balanced binary trees" (1972); as told by
C. Okasaki, "Purely Functional Data Structures" (1998), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Entry: TypeAlias = tuple[float, str, int]  # when, which job, under which epoch


class Heap(NamedTuple):
    """The earliest entry, over two smaller heaps.

    Attributes:
        rank: length of the path down the right side; logarithmic in the number of entries.
    """

    rank: int
    first: Entry
    left: Heap | None
    right: Heap | None


def pushed(heap: Heap | None, entry: Entry) -> Heap:
    """With one entry more."""
    return _merged(Heap(1, entry, None, None), heap)


def popped(heap: Heap) -> Heap | None:
    """Without its first entry."""
    if heap.left is None:
        return heap.right
    return _merged(heap.left, heap.right)


def until(heap: Heap | None, last: float) -> Iterator[Entry]:
    """The entries no later than ``last``, in no order; touches few others."""
    open_ = [heap]
    while open_:
        top = open_.pop()
        if top is not None and top.first[0] <= last:
            yield top.first
            open_ += (top.left, top.right)


def _merged(one: Heap, other: Heap | None) -> Heap:
    if other is None:
        return one
    if other.first < one.first:
        one, other = other, one
    left, right = one.left, _merged(other, one.right)
    if left is None or left.rank < right.rank:
        left, right = right, left
    return Heap(1 if right is None else right.rank + 1, one.first, left, right)
