from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet import heap

ENTRIES = st.tuples(st.integers(0, 9).map(float), st.sampled_from("abc"), st.integers(1, 3))


@given(st.lists(ENTRIES | st.none()))
def test_heap_whatever_comes_and_goes_gives_the_earliest_first(moves):
    ours, theirs, former = None, [], []
    for entry in moves:
        former.append((ours, sorted(theirs)))
        if entry is not None:
            ours = heap.pushed(ours, entry)
            heapq.heappush(theirs, entry)
        elif theirs:
            assert ours.first == heapq.heappop(theirs)
            ours = heap.popped(ours)
    former.append((ours, sorted(theirs)))
    for kept, expected in former:  # what was there before is as it was
        for last in (-1.0, 4.0, 9.0):
            assert sorted(heap.until(kept, last)) == [e for e in expected if e[0] <= last]


def test_heap_of_many_equal_entries_is_no_deep_recursion():
    many = None
    for number in range(5000):
        many = heap.pushed(many, (1.0, "job", number))
    for number in range(5000):
        assert many.first == (1.0, "job", number)
        many = heap.popped(many)
    assert many is None
