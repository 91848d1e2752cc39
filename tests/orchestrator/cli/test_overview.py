from __future__ import annotations

import json
from dataclasses import replace

import pytest

from atoll.types import Event, JobState, Progress
from atoll.views import BudgetView, FleetView, IslandView, JobView, ServerView
from orchestrator.cli.changes import Changes
from orchestrator.cli.live import Pace
from orchestrator.cli.overview import Overview
from orchestrator.cli.rows import islands_of, spent_in_words


@pytest.fixture
def job(spec) -> JobView:
    progress = Progress(10, 0.5, 64.0)
    granted = JobView(spec(), JobState.LEASED, 2, "island-1", 0, "granted", progress, None)
    return replace(granted, lease_left_s=7.4)


def view_of(job: JobView, silent_s: float = 0.1) -> FleetView:
    island = IslandView("island-1", "working", "expert-0", silent_s)
    return FleetView((job,), (island,), draining=False, last_event=3, node_hours=1.5, cost=0.75)


LOST = Event("island-lost", "silent for 10 s", "expert-0", "island-1", 2, number=4, at=5.0)


def test_changes_are_one_object_each_and_time_alone_is_none(job, capsys):
    changes = Changes()
    changes.show(view_of(job))
    changes.show(view_of(replace(job, lease_left_s=3.0), silent_s=4.0))
    changes.happened(LOST)
    changes.show(view_of(replace(job, state=JobState.WAITING, island="")))
    changes.tell("that is all")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(each)) for each in told] == ["job", "island", "event", "job", "note"]
    assert (told[0]["job"]["lease_left_s"], told[3]["job"]["lease_left_s"]) == (7.4, None)
    assert told[2]["event"]["reason"] == "silent for 10 s"


def test_servers_of_experts_are_shown_and_time_alone_is_no_change(job, clock, capsys):
    server = ServerView("192.0.2.8:8210", "process 7 on a", (0, 3), 400.0, 59.6)
    view = replace(view_of(job), servers=(server,))
    changes = Changes()
    for each in (view, replace(view, servers=(replace(server, lasts_s=40.0),)), view_of(job), view):
        changes.show(each)
    *_, came, left, again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert came["server"] == {
        "server": "192.0.2.8:8210",
        "process": "process 7 on a",
        "experts": [0, 3],
        "rows_per_s": 400.0,
        "lasts_s": 60,
    }
    assert left["server"] == {"server": "192.0.2.8:8210", "left": True}
    assert again == came
    with Overview("run", Pace(clock)) as shown:
        shown.show(view)
    assert "process 7 on a" in capsys.readouterr().err


def test_overview_shows_leases_islands_costs_and_the_latest_events(job, clock, capsys):
    with Overview("runs/[/a]", Pace(clock)) as shown:
        for number in range(20):
            shown.happened(replace(LOST, number=number, reason=f"silent [{number}]"))
        shown.show(view_of(job))
        shown.tell("[/nothing] more")
    told = capsys.readouterr().err
    for words in ("runs/[/a]", "7 s", "working", "1.50 node hours so far, which cost 0.75"):
        assert words in told
    assert "silent [19]" in told
    assert "silent [11]" not in told
    assert "[/nothing] more" in told


def test_spent_without_a_price_is_hours_alone(job):
    assert spent_in_words(replace(view_of(job), cost=0.0)) == "1.50 node hours so far"


def test_spent_is_told_beside_what_may_be(job):
    limits = BudgetView(cost=500.0, node_hours=2000.0, deadline=1796112000.0)
    assert spent_in_words(replace(view_of(job), budget=limits, cost=0.0)) == (
        "1.50 of 2000 node hours so far, which cost 0.00 of 500, until 2026-12-01 08:00:00 UTC"
    )


def test_islands_come_in_the_order_of_their_numbers(job):
    names = ["island-10", "far", "island-9", "7up", "island-1"]
    islands = (*(IslandView(name, "idle", "", 0.0) for name in names),)
    gone = IslandView("island-0", "gone", "", 0.0)
    view = replace(view_of(job), islands=(gone, *islands))
    told = [island.name for island in islands_of(view)]
    assert told == ["7up", "far", "island-1", "island-9", "island-10"]
