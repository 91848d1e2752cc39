"""Who goes next: nobody is starved, lost or doubled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.schedule import (
    ROUNDS,
    SPREAD_S,
    Choice,
    Waiting,
    choose,
    due_at,
)
from tests.serving.conftest import most_skipped

EXPERTS = st.frozensets(st.integers(0, 3), min_size=1)
ROWS = st.integers(1, 2)
QUEUES = st.lists(
    st.builds(Waiting, st.integers(), st.floats(0, 100), EXPERTS, ROWS, st.integers(0, 20)),
    unique_by=lambda each: each.slot,
    max_size=20,
)


@given(QUEUES, st.frozensets(st.integers(0, 3)), st.integers(2, 12))
def test_batch_fits_and_holds_each_image_once_that_can_be_evaluated(waiting, resident, most_rows):
    choice = choose(waiting, resident, most_rows)
    chosen = [each for each in waiting if each.slot in choice.slots]
    assert len(choice.slots) == len(chosen) == len(set(choice.slots))
    assert all(each.experts & resident for each in chosen)
    assert sum(each.num_rows for each in chosen) <= most_rows
    left = [each for each in waiting if each.experts & resident and each not in chosen]
    assert not left or sum(each.num_rows for each in chosen) >= most_rows - 1


@given(QUEUES, st.frozensets(st.integers(0, 3)), st.integers(2, 12))
def test_who_is_due_first_of_those_that_can_be_evaluated_is_chosen(waiting, resident, most_rows):
    ready = [each for each in waiting if each.experts & resident]
    choice = choose(waiting, resident, most_rows)
    if ready:
        first = min(ready, key=lambda each: (each.due_at, each.slot))
        starving = [each for each in ready if each.skipped >= ROUNDS]
        assert first.slot in choice.slots or (most_rows < 4 and starving)


@given(QUEUES, st.frozensets(st.integers(0, 3)))
def test_every_expert_that_is_waited_for_is_wanted_now_or_later(waiting, resident):
    choice = choose(waiting, resident, 4)
    queue = sorted(waiting, key=lambda each: (each.due_at, each.slot))
    first = frozenset().union(*(each.experts for each in queue[:1]))
    assert set(choice.wanted) == first | choice.experts
    assert not set(choice.wanted) & set(choice.later)
    assert {*choice.wanted, *choice.later} == frozenset().union(*(it.experts for it in waiting))
    if queue:
        assert set(choice.wanted[: len(queue[0].experts)]) == queue[0].experts
    first_due = [min(it.due_at for it in waiting if k in it.experts) for k in choice.later]
    assert first_due == sorted(first_due)


def test_first_takes_all_along_who_need_the_same_expert_before_the_next_is_begun():
    waiting = [
        Waiting(0, 1, frozenset({0})),
        Waiting(1, 2, frozenset({1})),
        Waiting(2, 3, frozenset({0})),
        Waiting(3, 4, frozenset({2})),
        Waiting(4, 5, frozenset({1})),
    ]
    assert choose(waiting, {0, 1, 2}, 3) == Choice((0, 2, 1), {0, 1}, (3, 4), (0, 1), (2,))
    assert choose(waiting, {0, 1, 2}, 5).slots == (0, 2, 1, 4, 3)


def test_expert_stays_in_memory_while_others_wait_for_theirs():
    waiting = [Waiting(slot, slot, frozenset({slot % 3})) for slot in range(6)]
    choice = choose(waiting, {0}, 2)
    assert (choice.wanted, choice.later) == ((0,), (1, 2))
    first_lacks_its_own = choose(waiting, {1}, 2)
    assert (first_lacks_its_own.wanted, first_lacks_its_own.later) == ((0, 1), (2,))


NUM_SLOTS = 12
CHANGES = st.tuples(st.floats(0, 1), st.frozensets(st.integers(0, 3), min_size=1), ROWS)


@given(st.integers(2, 12), st.data())
def test_nobody_is_left_out_for_longer_than_it_says_whatever_others_do(most_rows, data):
    """Whoever is evaluated may come back at once, more urgent than all, and for any experts."""
    images = [Waiting(slot, 1 + slot, frozenset({slot % 4}), 2) for slot in range(NUM_SLOTS)]
    bound = most_skipped(NUM_SLOTS, most_rows)
    for _ in range(2 * bound):
        choice = choose(images, range(4), most_rows)
        for slot in choice.skipped:
            images[slot] = replace(images[slot], skipped=images[slot].skipped + 1)
            assert images[slot].skipped <= bound
        for slot in choice.slots:
            images[slot] = Waiting(slot, *data.draw(CHANGES))


def test_left_out_for_long_goes_before_company_of_the_first_which_would_fill_every_batch():
    images = [Waiting(slot, slot, frozenset({0})) for slot in range(8)]
    lonely = Waiting(8, 100, frozenset({1}))
    assert 8 not in choose([*images, lonely], {0, 1}, 8).slots
    starving = replace(lonely, skipped=ROUNDS * 2)
    assert choose([*images, starving], {0, 1}, 8).slots == (0, 8, *range(1, 7))


def test_large_request_is_spread_between_others():
    large = [due_at(0.0, 10.0, position) for position in range(100)]
    assert large[-1] - large[0] == pytest.approx(99 * SPREAD_S)
    assert sorted([*large, due_at(1.0, 10.0, 0)]).index(11.0) < 25
