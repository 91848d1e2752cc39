from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.provider import Node
from orchestrator.fleet.ledger import Ledger, NodeUse, Prices, Spent, reconciled, started


def test_running_and_ended_nodes_are_counted_each_at_its_own_price():
    uses = [
        NodeUse("island-1", 0.0, 2.0, paid_from=0.0, ended_at=3600.0),
        NodeUse("island-2", 0.0, 0.0, paid_from=0.0, ended_at=7200.0),
        NodeUse("island-3", 0.0, 4.0, paid_from=3600.0),
        NodeUse("island-4", 0.0, 9.0),
        NodeUse("island-5", 0.0, 9.0, ended_at=7200.0),
    ]
    assert Ledger().after(uses).spent(3600.0 + 1800.0) == Spent(3.5, 4.0)


def test_clock_that_was_set_back_makes_nothing_cheaper():
    ledger = Ledger().after([NodeUse("island-1", 90.0, 1.0, paid_from=100.0)])
    assert ledger.spent(50.0) == Spent(0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=30))
def test_ledger_kept_change_by_change_is_that_of_its_rows(moves):
    """Restarted, an orchestrator reads a row for each node; before, it heard of every change."""
    kept, rows, now = Ledger(), {}, 0.0
    for island, seconds in moves:
        now += seconds
        before = kept.running.get(f"island-{island}")
        if before is None:
            use = NodeUse(f"island-{island}", now, 3.0)
        elif before.paid_from is None:
            use = replace(before, paid_from=now)
        else:
            use = replace(before, ended_at=now)
        rows[use.island, use.started_at] = use
        kept = kept.after([use])
    read = Ledger().after(rows.values())
    assert kept.running == read.running
    assert kept.spent(now).node_hours == pytest.approx(read.spent(now).node_hours)
    assert kept.spent(now).cost == pytest.approx(3 * kept.spent(now).node_hours)


def test_node_counts_from_when_it_is_there_at_the_price_it_has_there():
    use, event = started("island-1", Prices({"local": 1.0, "slurm": 4.0}), 0.0)
    assert (event.kind, event.reason) == ("island-started", "its node is asked for")
    ledger, prices = Ledger().after([use]), Prices({"local": 1.0, "slurm": 4.0})
    waits = Node("island-1", alive=True, waiting=True, provider="local")
    assert reconciled(ledger, [waits], set(), prices, 7200.0) == ((), ())
    assert ledger.spent(7200.0) == Spent(0.0, 0.0)
    ((there,), (event,)) = reconciled(
        ledger, [replace(waits, waiting=False)], set(), prices, 7200.0
    )
    assert event.kind == "island-up"
    assert event.reason == "its node is there, at 1 an hour, 2.00 h after it was asked for"
    ledger = ledger.after([there])
    assert ledger.spent(2 * 7200.0) == Spent(2.0, 2.0)
    assert reconciled(ledger, [waits], set(), prices, 9000.0) == ((), ())


def test_island_that_speaks_waits_no_longer_whatever_its_provider_told_last():
    use, _ = started("island-1", Prices(), 0.0)
    waits = Node("island-1", alive=True, waiting=True)
    ((there,), _) = reconciled(Ledger().after([use]), [waits], {"island-1"}, Prices(), 9.0)
    assert there.paid_from == 9.0


@pytest.mark.parametrize(
    ("node", "price"),
    [
        (Node("i", alive=True, provider="local"), 0.0),
        (Node("i", alive=True, provider="slurm"), 3.0),
        (Node("i", alive=True), 3.0),
    ],
    ids=["free", "of a table", "of nobody knows whom"],
)
def test_price_of_a_node_is_its_providers(node, price):
    assert Prices({"local": 0.0, "slurm": 3.0}).of(node) == price


def test_what_the_provider_sees_ends_finds_and_leaves_alone():
    running = [NodeUse(f"island-{number}", 0.0, 1.0, paid_from=0.0) for number in (1, 2, 3)]
    seen = [
        Node("island-1", alive=True),
        Node("island-2", alive=False, reason="exited with code 0"),
        Node("island-7", alive=True),
        Node("island-8", alive=False, reason="of long ago"),
        Node("island-9", alive=True, waiting=True),
    ]
    prices = Prices({"local": 2.0})
    uses, events = reconciled(Ledger().after(running), seen, set(), prices, 7200.0)
    assert uses == (
        NodeUse("island-2", 0.0, 1.0, paid_from=0.0, ended_at=7200.0),
        NodeUse("island-3", 0.0, 1.0, paid_from=0.0, ended_at=7200.0),
        NodeUse("island-7", 7200.0, 2.0, paid_from=7200.0),
        NodeUse("island-9", 7200.0, 2.0),
    )
    assert [(event.kind, event.reason) for event in events] == [
        ("island-stopped", "exited with code 0; it took 2.00 node hours, which cost 2.00"),
        ("island-stopped", "its node is gone; it took 2.00 node hours, which cost 2.00"),
        ("island-started", "its node was found at work"),
        ("island-started", "its node was found waiting"),
    ]
    again = Ledger().after(running).after(uses)
    assert reconciled(again, seen, set(), prices, 9000.0) == ((), ())
    assert again.spent(7200.0) == Spent(pytest.approx(6.0), pytest.approx(6.0))


def test_island_is_over_once_neither_it_nor_a_later_start_of_it_runs():
    ended = [NodeUse(name, 0.0, ended_at=9.0) for name in ("island-3", "island-31.1")]
    ledger = Ledger().after(NodeUse(name, 0.0) for name in ("island-3", "island-31"))
    assert not ledger.is_over("island-3")
    assert not ledger.is_over("island-4")  # which nobody was asked for
    ledger = ledger.after([NodeUse("island-3.1", 0.0), *ended])
    assert not ledger.is_over("island-3")
    ledger = ledger.after([NodeUse("island-3.1", 0.0, ended_at=9.0)])
    assert [ledger.is_over(name) for name in ("island-3", "island-31")] == [True, False]
    assert not ledger.after([NodeUse("island-3", 0.0)]).is_over("island-3")  # it was found again


def test_node_of_another_machines_provider_runs_as_long_as_its_island_speaks():
    use, _ = started("island-1", Prices(), 0.0)
    known = Ledger().after([use])
    assert reconciled(known, [], {"island-1"}, Prices(), 10.0) == ((), ())
    ((ended,), (event,)) = reconciled(known, [], set(), Prices(), 10.0)
    assert (ended.ended_at, event.kind) == (10.0, "island-stopped")


def test_node_in_setup_is_there_and_one_that_is_being_made_is_not():
    use, _ = started("island-1", Prices(), 0.0)
    ledger, made = Ledger().after([use]), Node("island-1", alive=True, waiting=True)
    assert reconciled(ledger, [made], set(), Prices(), 5.0) == ((), ())
    ((there,), _) = reconciled(ledger, [replace(made, in_setup=True)], set(), Prices(), 9.0)
    assert there.paid_from == 9.0


def test_island_counts_its_nodes_without_those_that_are_missing():
    prices, node = Prices({"slurm": 2.0}, num_nodes=4), Node("island-1", alive=True)
    use, _ = started("island-1", prices, 0.0)
    ledger = Ledger().after([use])

    def look(num_missing: int, at: float) -> None:
        nonlocal ledger
        seen = replace(node, missing=num_missing)
        uses, events = reconciled(ledger, [seen], {"island-1"}, prices, at)
        told.extend(event.reason for event in events)
        ledger = ledger.after(uses)

    told: list[str] = []
    look(0, 0.0)
    look(0, 3600.0)
    assert ledger.spent(3600.0) == Spent(4.0, 8.0)
    look(3, 3600.0)
    look(3, 5400.0)
    assert ledger.spent(7200.0) == Spent(5.0, 10.0)
    look(1, 7200.0)  # two are back
    assert ledger.spent(9000.0) == Spent(6.5, 13.0)
    ((ended,), (event,)) = reconciled(ledger, [], set(), prices, 9000.0)
    assert Ledger().after([ended]).spent(1e9) == Spent(6.5, 13.0)
    assert event.reason == "its node is gone; it took 6.50 node hours, which cost 13.00"
    assert told == ["its 4 nodes are there, at 2 an hour each, 0.00 h after it was asked for"]


def test_island_that_comes_up_or_is_found_without_some_nodes_counts_the_others():
    prices, node = Prices(num_nodes=3), Node("island-1", alive=True, missing=1)
    use, _ = started("island-1", prices, 0.0)
    for before in (Ledger().after([use]), Ledger()):
        uses, _ = reconciled(before, [node], set(), prices, 0.0)
        assert before.after(uses).spent(3600.0).node_hours == 2.0


def test_island_that_is_found_and_misses_more_nodes_than_it_should_have_counts_one():
    node = Node("island-1", alive=True, missing=3)  # it was asked for with four
    uses, _ = reconciled(Ledger(), [node], set(), Prices(num_nodes=2), 0.0)
    assert Ledger().after(uses).spent(3600.0).node_hours == 1.0


def test_island_counts_the_nodes_it_was_asked_for_with_whatever_others_have_now():
    use, _ = started("island-1", Prices(num_nodes=2), 0.0)
    node, more = Node("island-1", alive=True), Prices(num_nodes=4)
    uses, _ = reconciled(Ledger().after([use]), [node], set(), more, 0.0)
    assert Ledger().after(uses).spent(3600.0).node_hours == 2.0
