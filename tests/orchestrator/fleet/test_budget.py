from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from atoll.views import BudgetView
from orchestrator.fleet.budget import Budget, nearing, reached
from orchestrator.fleet.ledger import Ledger, NodeUse

HOUR_S = 3600.0
AHEAD_S = 360.0  # a tenth of an hour


def ledger_of(num_nodes: int, price: float = 2.0) -> Ledger:
    uses = (NodeUse(f"island-{number}", 0.0, price, 0.0) for number in range(num_nodes))
    return Ledger().after(uses)


def test_without_limits_nothing_is_ever_reached():
    assert reached(Budget(), ledger_of(1000), 1000, 1e9, 1e12) == ""
    assert list(nearing(Budget(), ledger_of(1000), 1e12)) == []


def test_cost_is_reached_once_nodes_could_not_leave_within_it():
    budget = Budget(cost=10.0, ahead_s=AHEAD_S)
    two = ledger_of(2)  # which cost 4 an hour, and 0.4 until they have left
    assert reached(budget, two, 0, 2.0, 2.399 * HOUR_S) == ""
    words = reached(budget, two, 0, 2.0, 2.4001 * HOUR_S)
    assert words == (
        "budget.cost = 10 is reached: 9.60 is spent, and 2 nodes may take 0.40 more until they "
        "have checkpointed and left"
    )


def test_nodes_about_to_be_asked_for_count_as_those_that_run():
    budget = Budget(cost=10.0, ahead_s=AHEAD_S)
    now = 2.3 * HOUR_S  # 9.2 are spent
    assert reached(budget, ledger_of(2), 1, 3.0, now) == ""
    assert "3 nodes may take 1.00 more" in reached(budget, ledger_of(2), 1, 6.0, now)


def test_queued_nodes_cost_nothing_yet_and_would_cost_as_the_others_once_there():
    queued = Ledger().after([NodeUse("island-1", 0.0, 2.0)])
    assert reached(Budget(cost=0.21, ahead_s=AHEAD_S), queued, 0, 0.0, 1e9) == ""
    assert reached(Budget(cost=0.19, ahead_s=AHEAD_S), queued, 0, 0.0, 0.0) != ""


def test_node_hours_are_reached_whatever_nodes_cost():
    budget = Budget(node_hours=5.0, ahead_s=AHEAD_S)
    free = ledger_of(2, price=0.0)
    assert reached(budget, free, 0, 0.0, 2.399 * HOUR_S) == ""
    assert reached(budget, free, 0, 0.0, 2.4001 * HOUR_S).startswith("budget.node_hours = 5 is")


def test_nodes_of_an_island_count_each():
    pair = Ledger().after([NodeUse("island-1", 0.0, 2.0, 0.0, num_nodes=2)])
    for budget in (Budget(cost=10.0, ahead_s=AHEAD_S), Budget(node_hours=5.0, ahead_s=AHEAD_S)):
        assert reached(budget, pair, 0, 2.0, 2.399 * HOUR_S) == ""
        assert "2 nodes may take" in reached(budget, pair, 0, 2.0, 2.4001 * HOUR_S)


def test_missing_nodes_cost_nothing_yet_and_are_reckoned_with_as_about_to_be_started():
    lame = Ledger().after([NodeUse("island-1", 0.0, 2.0, 0.0, num_nodes=2, num_missing=1)])
    budget = Budget(cost=10.0, ahead_s=AHEAD_S)  # one costs 2 an hour, and both 0.4 until they left
    assert reached(budget, lame, 0, 2.0, 4.799 * HOUR_S) == ""
    assert "9.60 is spent, and 2 nodes may take 0.40" in reached(
        budget, lame, 0, 2.0, 4.8001 * HOUR_S
    )


def test_deadline_is_reached_when_no_time_is_left_to_leave_before_it():
    budget = Budget(deadline=10 * HOUR_S, ahead_s=AHEAD_S)
    assert reached(budget, Ledger(), 0, 0.0, 9.899 * HOUR_S) == ""
    words = reached(budget, Ledger(), 0, 0.0, 9.9001 * HOUR_S)
    assert words == (
        "budget.deadline = 1970-01-01 10:00:00 UTC is reached: islands may take 360 s to "
        "checkpoint and leave"
    )


@given(
    prices=st.lists(st.floats(0.01, 100), min_size=1, max_size=8),
    limit=st.floats(0.1, 1000),
    look_s=st.floats(0.1, 5),
    leave_s=st.floats(0, AHEAD_S - 5),
)
def test_run_that_is_paused_at_the_first_look_that_says_so_keeps_within_its_cost(
    prices, limit, look_s, leave_s
):
    """As long as all nodes leave in the time they have, less the pause between two looks."""
    budget = Budget(cost=limit, ahead_s=AHEAD_S)
    ledger = Ledger().after(
        NodeUse(f"island-{number}", 0.0, price, 0.0) for number, price in enumerate(prices)
    )
    at = 0.0
    if reached(budget, ledger, 0, 0.0, at):
        return  # nobody would have been started
    rate = sum(prices) / HOUR_S
    at = max(0.0, (limit / rate - AHEAD_S) // look_s * look_s)  # near it, at a look
    while not reached(budget, ledger, 0, 0.0, at):
        at += look_s
    assert ledger.spent(at + leave_s).cost <= limit * (1 + 1e-9)


def test_what_was_paused_may_not_go_on_until_more_is_allowed():
    """Stopped nodes have taken no less than when they were told to leave."""
    budget = Budget(cost=10.0, ahead_s=AHEAD_S, num_islands=2)
    paused_at = 2.41 * HOUR_S
    assert reached(budget, ledger_of(2), 0, 2.0, paused_at)
    left = Ledger().after(
        NodeUse(f"island-{number}", 0.0, 2.0, 0.0, ended_at=paused_at) for number in range(2)
    )
    num_new = budget.num_to_start(left, num_open=4)
    assert num_new == 2
    assert reached(budget, left, num_new, 2.0, paused_at + 1e6)
    raised = Budget(cost=11.0, ahead_s=AHEAD_S, num_islands=2)
    assert not reached(raised, left, num_new, 2.0, paused_at + 1e6)


def test_no_more_nodes_are_to_be_started_than_jobs_are_open_or_islands_wanted():
    budget = Budget(num_islands=3)
    assert [budget.num_to_start(ledger_of(2), num) for num in (0, 2, 3, 9)] == [0, 0, 1, 1]


def test_limits_are_told_to_be_near_at_four_fifths_and_an_hour_before_the_deadline():
    budget = Budget(cost=10.0, node_hours=100.0, deadline=3 * HOUR_S)
    one = ledger_of(1, price=4.0)
    assert dict(nearing(budget, one, 1.99 * HOUR_S)) == {}
    assert dict(nearing(budget, one, 2.0 * HOUR_S)) == {
        "cost": "8.00 of budget.cost = 10 is spent",
        "deadline": "60 min are left until budget.deadline = 1970-01-01 03:00:00 UTC",
    }


def test_budget_is_seen_without_limits_that_are_none():
    assert Budget(cost=5.0).view == BudgetView(cost=5.0)
    assert Budget(node_hours=5.0, deadline=7.0).view == BudgetView(None, 5.0, 7.0)
    assert not math.isfinite(Budget().cost)
