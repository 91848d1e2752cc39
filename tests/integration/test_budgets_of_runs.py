"""A budget that is reached in the middle of a run, and raised."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.timeout(600)

LEAVING = 2 * (5 + 30)  # two islands that cost 1 a second, until they have left


def test_run_that_reaches_its_budget_pauses_within_it_and_goes_on_once_more_is_allowed(
    run, undisturbed
):
    run.steps, run.options = 1200, "--step-s 0.02 --every 10"
    limited = ["island.price_per_hour=3600", "island.drain_s=5"]
    run.overrides = [*limited, f"budget.cost={LEAVING + 20}"]
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 3
    assert f"atoll: budget.cost = {LEAVING + 20} is reached: " in told
    assert told.count("give the same command again") == 1
    assert not run.results()
    run.wait_for_its_end()
    spent = json.loads(run.atoll("status", "--json"))
    assert 20 <= spent["cost"] <= LEAVING + 20 == spent["budget"]["cost"]
    assert all(job["state"] == "paused" for job in spent["jobs"])
    again = run.launch()
    assert f"budget.cost = {LEAVING + 20} is reached: " in run.finish(again)
    assert again.returncode == 3
    assert sum(event.kind == "island-started" for event in run.events()) == 2
    run.overrides, run.options = [*limited, "budget.cost=100000"], "--step-s 0.001 --every 300"
    richer = run.launch()
    told = run.finish(richer)
    assert richer.returncode == 0, told
    assert run.weights() == undisturbed(run)
    kinds = {event.kind for event in run.events()}
    assert {"budget-reached", "draining", "job-reopened"} <= kinds
    assert not kinds & {"attempt-failed", "island-lost"}
