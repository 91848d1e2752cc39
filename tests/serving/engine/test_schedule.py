"""Who goes next: nobody is starved, lost or doubled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.schedule import SPREAD_S, Choice, Waiting, choose, due_at

EXPERTS = st.frozensets(st.integers(0, 3), min_size=1)
QUEUES = st.lists(
    st.builds(Waiting, st.integers(), st.floats(0, 100), EXPERTS, st.integers(1, 2)),
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
        assert min(ready, key=lambda each: (each.due_at, each.slot)).slot in choice.slots


@given(QUEUES, st.frozensets(st.integers(0, 3)))
def test_every_expert_that_is_waited_for_is_wanted_the_most_urgent_first(waiting, resident):
    wanted = choose(waiting, resident, 4).wanted
    assert set(wanted) == frozenset().union(*(each.experts for each in waiting))
    first_due = {
        expert: min(each.due_at for each in waiting if expert in each.experts) for expert in wanted
    }
    assert [first_due[expert] for expert in wanted] == sorted(first_due.values())


def test_half_of_a_batch_goes_by_urgency_and_the_rest_to_the_same_experts():
    waiting = [
        Waiting(0, 1, frozenset({0})),
        Waiting(1, 2, frozenset({0})),
        Waiting(2, 3, frozenset({1})),
        Waiting(3, 4, frozenset({0})),
        Waiting(4, 5, frozenset({0})),
    ]
    assert choose(waiting, {0, 1}, 4) == Choice((0, 1, 3, 4), frozenset({0}), (0, 1))
    assert choose(waiting, {0, 1}, 5) == Choice((0, 1, 2, 3, 4), frozenset({0, 1}), (0, 1))


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from([1.0, 10.0])), min_size=1, max_size=30))
def test_everyone_gets_a_turn_although_urgent_ones_keep_coming(arrivals):
    """An endless stream of urgent requests delays a patient one by no more than its patience."""
    patient = due_at(0.0, 10.0, 0)
    later = [due_at(10.0 + at, patience, 0) for at, patience in arrivals]
    assert all(patient <= due for due in later)


def test_large_request_is_spread_between_others():
    large = [due_at(0.0, 10.0, position) for position in range(100)]
    assert large[-1] - large[0] == pytest.approx(99 * SPREAD_S)
    assert sorted([*large, due_at(1.0, 10.0, 0)]).index(11.0) < 25
