"""A provider that refuses, is silent, or comes to nothing."""

from __future__ import annotations

import pytest

from atoll.errors import ConfigError, IslandError
from atoll.types import Directive, Progress
from cluster.provider import NodeSpec
from orchestrator.supervisor import Supervisor
from tests.orchestrator.supervisor.conftest import POLICY, node_spec, raise_, told


def test_supervisor_gives_up_on_silent_islands_in_a_whole_sentence(
    supervisor, provider, service, clock
):
    for _ in range(4):
        supervisor.look()
        clock.now += 31  # alive, and never heard of
    reason = service.fleet.jobs["expert-0"].reason
    assert reason == "no island stays alive, after 2 tries in a row"


def test_supervisor_refuses_what_can_never_run(service, provider, clock):
    def greedy(name: str) -> NodeSpec:
        return NodeSpec(name, "runs/test", (), num_gpus=8)

    with pytest.raises(ConfigError):
        Supervisor(service, provider, greedy, POLICY, clock)


def test_supervisor_whose_provider_is_silent_starts_and_buries_nobody(
    supervisor, provider, service, monkeypatch
):
    supervisor.look()
    service.acquire("island-1", "r")

    def silent(_):
        raise IslandError("no route to the controller")

    monkeypatch.setattr(provider, "list", silent)
    for _ in range(3):
        assert supervisor.look()
    assert list(provider.nodes) == ["island-1"]
    assert service.fleet.islands["island-1"].state == "working"
    told = [event.reason for event in service.events(0, 0) if event.kind == "islands-unknown"]
    assert told == ["the provider: no route to the controller"]


def test_supervisor_waits_for_a_silent_provider_as_long_as_there_is_work(
    supervisor, provider, service, clock
):
    provider.list = lambda _: raise_(IslandError("it sleeps"))
    assert supervisor.look()
    clock.now += 1000
    assert supervisor.look()
    service.give_up("told to")
    assert not supervisor.look()


def test_supervisor_whose_work_is_over_gives_a_provider_time_to_answer(
    supervisor, provider, service, clock
):
    service.give_up("told to")
    provider.list = lambda _: raise_(IslandError("it sleeps"))
    assert supervisor.look()
    clock.now += 29
    assert supervisor.look()
    clock.now += 1
    assert not supervisor.look()


def test_supervisor_refuses_a_provider_that_does_not_answer(service, provider, clock):
    provider.validate = lambda _: raise_(IslandError("squeue does not answer"))
    with pytest.raises(ConfigError, match=r"island\.provider: squeue does not answer"):
        Supervisor(service, provider, node_spec, POLICY, clock)


@pytest.mark.parametrize(
    "error", [IslandError("squeue does not answer"), ConfigError("there is no sbatch")]
)
def test_later_supervisor_serves_on_although_its_provider_is_away_or_refuses(
    begin, serve, provider, clock, error
):
    service, supervisor = begin(1e6)
    assert supervisor.provider_is_fit
    lease = service.acquire("island-1", "r").lease
    provider.validate = lambda _: raise_(error)
    later, its_supervisor = serve(1e6)
    assert not its_supervisor.provider_is_fit
    assert told(later, "islands-refused") == [f"the provider: {error}"]
    assert its_supervisor.look()
    assert later.heartbeat(lease, Progress(5, 1.0, 1.0)) is Directive.CONTINUE
    provider.kill("island-1")
    its_supervisor.look()
    clock.now += 1
    its_supervisor.look()
    assert list(provider.nodes) == ["island-1", "island-2"]  # it is asked as ever


def test_later_supervisor_refuses_its_provider_once_no_island_is_left(begin, serve, provider):
    service, supervisor = begin(1e6)
    service.give_up("told to")
    for island in list(provider.nodes):
        provider.kill(island)
    supervisor.look()
    provider.validate = lambda _: raise_(ConfigError("there is no sbatch"))
    with pytest.raises(ConfigError, match="there is no sbatch"):
        serve(1e6)
