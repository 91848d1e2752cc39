"""Islands that live, die, hang, or have nothing left to do."""

from __future__ import annotations

from dataclasses import replace

from atoll.errors import IslandError
from atoll.types import Action, Ending, JobState, Outcome, Submission
from cluster.provider import Node
from orchestrator.service import FleetService
from orchestrator.supervisor import Supervisor
from tests.orchestrator.supervisor.conftest import (
    POLICY,
    ScriptedProvider,
    node_spec,
    raise_,
    told,
)


def test_supervisor_starts_islands_and_says_whether_any_lives(supervisor, provider):
    assert not supervisor.look()
    assert supervisor.look()
    assert list(provider.nodes) == ["island-1"]


def test_supervisor_tells_the_fleet_of_the_dead_and_tidies_up_once(supervisor, provider, service):
    supervisor.look()
    service.acquire("island-1", "r")
    provider.kill("island-1")
    for _ in range(3):
        supervisor.look()
    assert service.fleet.jobs["expert-0"].reason == "island-1 is gone: exited with code 1"
    assert provider.cancelled == ["island-1"]


def test_supervisor_says_of_an_island_that_ends_once_it_is_revoked_why(
    service, provider, clock, spec, monkeypatch
):
    revoked: dict[str, str] = {}

    def turn_out() -> None:
        for island, why in revoked.items():
            service.island_gone(island, why)

    def ends_while_asked_for(label: str) -> tuple[Node, ...]:
        revoked["island-1"] = "island-1 was revoked"
        provider.kill("island-1")
        return listed(label)

    service.submit([Submission(spec())])
    supervisor = Supervisor(service, provider, node_spec, POLICY, clock, turn_out=turn_out)
    supervisor.look()
    service.acquire("island-1", "r")
    listed = provider.list
    monkeypatch.setattr(provider, "list", ends_while_asked_for)
    supervisor.look()
    assert told(service, "island-gone") == ["island-1 is gone: island-1 was revoked"]
    assert provider.cancelled == ["island-1"]


def test_supervisor_turns_out_whoever_is_revoked_although_its_provider_is_silent(
    service, provider, clock, monkeypatch
):
    turned_out: list[bool] = []
    supervisor = Supervisor(
        service, provider, node_spec, POLICY, clock, turn_out=lambda: turned_out.append(True)
    )
    monkeypatch.setattr(provider, "list", lambda _: raise_(IslandError("it sleeps")))
    supervisor.look()
    assert turned_out == [True]


def test_supervisor_of_a_later_orchestrator_lets_the_dead_rest(
    supervisor, provider, service, clock
):
    supervisor.look()
    provider.kill("island-1")
    supervisor.look()
    Supervisor(service, provider, node_spec, POLICY, clock).look()
    assert provider.cancelled == ["island-1"]


def test_supervisor_stops_what_stays_when_all_is_over(supervisor, provider, service, clock):
    supervisor.look()
    service.acquire("island-1", "r")
    service.give_up("enough")
    for _ in range(3):
        supervisor.look()
        clock.now += 2
    assert provider.cancelled == ["island-1"]
    assert service.fleet.islands["island-1"].state == "gone"


def test_supervisor_gives_the_jobs_up_with_the_last_words(supervisor, provider, service, clock):
    for _ in range(8):
        supervisor.look()
        for island in provider.nodes:
            provider.kill(island)
        clock.now += 2
    job = service.fleet.jobs["expert-0"]
    assert job.state is JobState.FAILED
    assert "after 2 tries in a row; island-2 exited with code 1" in job.reason
    assert "island-2 has no driver" in job.reason


def test_supervisor_gives_the_jobs_up_with_the_last_words_of_who_died_last(
    supervisor, provider, service, clock
):
    def lists(label):
        nodes = [replace(node, cleared=False) for node in provider.nodes.values()]
        return nodes[::-1] if label == "runs/test" else ()  # slow to clear what it was told to

    provider.list = lists
    for _ in range(8):
        supervisor.look()
        for island in provider.nodes:
            provider.kill(island)
        clock.now += 2
    assert "tries in a row; island-2 " in service.fleet.jobs["expert-0"].reason


def test_supervisor_gives_up_when_nothing_can_be_started(supervisor, provider, service, clock):
    provider.refuses = True
    for _ in range(8):
        supervisor.look()
        clock.now += 2
    assert service.fleet.jobs["expert-0"].reason.endswith("the quota is used up")


def test_supervisor_on_another_machine_takes_no_name_again_and_ends_nobody(
    supervisor, service, store, clock, spec
):
    supervisor.look()
    assert service.acquire("island-1", "r").lease.job == "expert-0"
    elsewhere = ScriptedProvider()  # knows nothing of the first one's nodes
    later = FleetService(store, service.fleet.policy, clock)
    later.submit([Submission(spec("expert-1"))])
    Supervisor(later, elsewhere, node_spec, POLICY, clock).look()
    assert list(elsewhere.nodes) == ["island-2"]
    assert [e.island for e in later.events(0, 0) if e.kind == "island-stopped"] == []


def test_supervisor_lets_an_island_go_that_has_nothing_left_to_do(service, provider, clock, spec):
    two = replace(POLICY, num_islands=2)
    supervisor = Supervisor(service, provider, node_spec, two, clock)
    service.submit([Submission(spec("expert-0")), Submission(spec("expert-1"))])
    supervisor.look()
    lease = service.acquire("island-1", "r1").lease
    service.acquire("island-2", "r2")
    service.steer(Action.CANCEL, ["expert-0"], "")
    service.release(lease, Outcome(Ending.DRAINED), "f")
    service.acquire("island-1", "r3")
    supervisor.look()
    assert service.acquire("island-1", "r4").dismissed
    assert service.fleet.islands["island-2"].state == "working"
    assert "fewer jobs are open than islands live" in told(service, "island-draining")[0]


def test_supervisor_waits_for_no_island_that_nobody_can_reach(supervisor, provider, service, clock):
    supervisor.look()
    provider.nodes["island-1"] = replace(provider.nodes["island-1"], stale=True)
    provider.cancel = provider.cancelled.append  # which changes nothing
    service.give_up("told to")
    assert supervisor.look()
    clock.now += 61
    assert not supervisor.look()
    assert not supervisor.look()
    told = [event for event in service.events(0, 1.0) if event.kind == "island-forsaken"]
    assert [event.island for event in told] == ["island-1"]


def test_supervisor_stops_an_island_that_hangs_and_says_so_once(
    supervisor, provider, service, clock
):
    for _ in range(2):
        supervisor.look()
    cancel, provider.cancel = provider.cancel, provider.cancelled.append  # which takes a while
    clock.now += POLICY.orphan_s + 60
    supervisor.look()
    assert provider.cancelled == []
    for _ in range(2):
        clock.now += 1
        supervisor.look()
    assert provider.cancelled == ["island-1"] * 2
    words = "it says nothing, and has not stopped itself by island.orphan_s"
    assert told(service, "island-hung") == [words]
    cancel("island-1")
    assert not supervisor.look()
