"""A run that may spend so much and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.errors import IslandError, OverBudget
from atoll.types import Action, Directive, Progress, Submission
from tests.orchestrator.supervisor.conftest import POLICY, told


def test_supervisor_pauses_a_run_before_it_spends_more_than_it_may(begin, clock):
    service, supervisor = begin(10.0)
    lease = service.acquire("island-1", "r").lease
    clock.now += 5.9
    supervisor.look()
    assert service.heartbeat(lease, Progress(5, 1.0, 1.0)) is Directive.CONTINUE
    clock.now += 0.2
    supervisor.look()
    assert service.heartbeat(lease, Progress(5, 1.0, 1.0)) is Directive.DRAIN
    (words,) = told(service, "budget-reached")
    assert words.startswith("budget.cost = 10 is reached: 6.10 is spent, and 1 node may take 4.00")
    assert service.view().budget.reached == words
    assert service.fleet.jobs["expert-0"].reason.endswith("budget.cost = 10 is reached")


def test_supervisor_pauses_a_run_also_while_its_provider_does_not_answer(
    begin, clock, provider, monkeypatch
):
    service, supervisor = begin(10.0)

    def silent(_):
        raise IslandError("no route to the controller")

    monkeypatch.setattr(provider, "list", silent)
    clock.now += 7
    supervisor.look()
    assert service.fleet.draining


def test_supervisor_warns_once_that_a_limit_is_near(begin, clock):
    service, supervisor = begin(10.0, ahead_s=0.1)
    for _ in range(4):
        clock.now += 2.2
        supervisor.look()
    assert told(service, "budget-nearly-reached") == ["8.80 of budget.cost = 10 is spent"]


def test_paused_run_is_refused_until_more_is_allowed_whoever_serves_it(
    begin, serve, clock, spec, provider
):
    service, supervisor = begin(10.0)
    service.acquire("island-1", "r")
    clock.now += 7
    supervisor.look()
    service.island_gone("island-1", "left")
    provider.kill("island-1")
    supervisor.look()
    with pytest.raises(OverBudget, match=r"budget\.cost = 10 is reached: 7\.00 is spent, and 1 no"):
        service.submit([Submission(spec())])
    with pytest.raises(OverBudget):
        service.steer(Action.RESUME, [], "")
    later, its_supervisor = serve(10.0)
    with pytest.raises(OverBudget):
        later.submit([Submission(spec())])
    its_supervisor.look()
    assert list(provider.nodes) == ["island-1"]
    richer, its_supervisor = serve(20.0)
    richer.submit([Submission(spec())])
    its_supervisor.look()
    assert list(provider.nodes) == ["island-1", "island-2"]
    assert not richer.view().budget.reached


def test_supervisor_asks_for_no_node_that_could_not_leave_within_the_budget(begin, clock, provider):
    service, supervisor = begin(10.0)
    service.acquire("island-1", "r")
    clock.now += 5.9
    provider.kill("island-1")
    for _ in range(3):
        clock.now += 1
        supervisor.look()
    assert list(provider.nodes) == ["island-1"]
    assert service.fleet.draining


def test_supervisor_completes_no_island_that_could_not_leave_within_the_budget(
    begin, clock, provider
):
    service, supervisor = begin(20.0, num_nodes=2)  # the two take 8 until they have left
    service.acquire("island-1", "r")
    clock.now += 2
    provider.nodes["island-1"] = replace(provider.nodes["island-1"], missing=1)
    for _ in range(2):
        supervisor.look()
        clock.now += POLICY.backoff_s
    assert provider.completed == ["island-1"]  # which brings nobody back
    clock.now += 6.1  # the other alone would have 4 s more
    supervisor.look()
    assert provider.completed == ["island-1"]
    (words,) = told(service, "budget-reached")
    assert words.startswith(
        "budget.cost = 20 is reached: 12.10 is spent, and 2 nodes may take 8.00"
    )
