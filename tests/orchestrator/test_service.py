from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from atoll.errors import LeaseLost, Refused, Unreachable
from atoll.gangs import Call, GangNode
from atoll.types import Assignment, Ending, JobState, Outcome, Progress, Submission
from cluster.provider import Node
from membership.record import Kind, Record, plain
from orchestrator.fleet.ledger import Prices
from orchestrator.service import FleetService


@pytest.fixture
def lease(service, spec):
    service.submit([Submission(spec())])
    answer = service.acquire("island-1", "r")
    assert isinstance(answer, Assignment)
    return answer.lease


@pytest.fixture
def start_again(store, policy, clock):
    return lambda: FleetService(store, policy, clock)


def test_service_when_the_store_fails_has_not_changed(service, lease, ref, store, monkeypatch):
    def full(*_):
        raise Unreachable("the database is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", full)
        with pytest.raises(Unreachable):
            service.commit(lease, ref(lease, 10))
        assert service.fleet.jobs["expert-0"].step == 0
    service.commit(lease, ref(lease, 10))
    assert service.fleet.jobs["expert-0"].step == 10


def test_service_started_again_knows_the_lease_and_the_checkpoint(
    service, lease, ref, start_again, clock
):
    service.commit(lease, ref(lease, 10))
    clock.now = 5.0  # another boot, another monotonic clock
    again = start_again()
    assert again.acquire("island-1", "r") == Assignment(
        lease, again.view().jobs[0].spec, ref(lease, 10)
    )
    clock.now += 9
    again.tick()
    again.heartbeat(lease, Progress(12, 0.5, 1.0))
    again.commit(lease, ref(lease, 20))
    assert again.view().jobs[0].checkpoint == ref(lease, 20)


def test_service_knows_a_commit_again_after_newer_ones_and_under_the_next_lease(
    service, lease, ref, store
):
    for step in (10, 20):
        service.commit(lease, ref(lease, step))
    service.commit(lease, ref(lease, 10))
    service.island_gone("island-1", "killed")
    service.acquire("island-2", "r2")
    service.commit(lease, ref(lease, 20))
    refs = [record.ref for record in store.checkpoints("expert-0")]
    assert refs == [ref(lease, 10), ref(lease, 20)]
    assert service.fleet.jobs["expert-0"].checkpoint == ref(lease, 20)


def test_service_does_not_take_other_bytes_for_a_commit_said_again(service, lease, ref):
    service.commit(lease, ref(lease, 10))
    with pytest.raises(Refused, match="10 committed steps"):
        service.commit(lease, replace(ref(lease, 10), digest="other"))


def test_service_numbers_events_through_restarts(service, lease, start_again, store, clock):
    start_again()
    events = store.events(after=0, limit=100)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events] == [
        "orchestrator-serves",
        "job-submitted",
        "island-joined",
        "lease-granted",
        "orchestrator-serves",
    ]
    assert all(event.at == clock.wall() for event in events)


def test_service_wakes_those_who_wait_for_events(service, lease):
    last = service.events(0, 0)[-1].number
    heard = []
    waiter = threading.Thread(target=lambda: heard.extend(service.events(last, timeout_s=30)))
    waiter.start()
    service.drain("enough")
    waiter.join(timeout=30)
    assert [event.kind for event in heard] == ["draining"]
    assert service.events(heard[0].number, timeout_s=0) == ()


def test_service_of_another_orchestrator_overtaken_writes_nothing(
    service, lease, ref, start_again, store
):
    other = start_again()
    other.island_gone("island-1", "killed")
    heir = other.acquire("island-2", "r2").lease
    other.commit(heir, ref(heir, 30))
    with pytest.raises(LeaseLost):
        service.commit(lease, ref(lease, 90))
    assert store.load().jobs[0].checkpoint == ref(heir, 30)


def test_service_retires_only_when_nobody_asked_for_a_while(service, lease, clock, spec):
    clock.now += 3
    service.view()
    clock.now += 3
    assert not service.retire(unasked_s=4)
    clock.now += 1
    assert service.retire(unasked_s=4)
    with pytest.raises(Unreachable):
        service.submit([Submission(spec("expert-1"))])


def test_service_does_not_retire_while_a_server_of_experts_tells_of_itself(service, clock):
    told = Record(Kind.EXPERTS, "m", "a:7", "a:7", until=clock.wall() + 60)
    service.servers.keep(told, plain(told))
    clock.now += 50
    assert not service.retire(unasked_s=4)
    (server,) = service.view().servers
    assert (server.address, server.lasts_s) == ("a:7", 10)
    clock.now += 11
    assert service.retire(unasked_s=4)


def test_service_shared_by_threads_grants_each_job_once(service, spec, ref):
    names = [f"expert-{index}" for index in range(20)]
    service.submit([Submission(spec(name)) for name in names])
    granted: list[str] = []

    def island(number: int) -> None:
        for _ in range(5):
            answer = service.acquire(f"island-{number}", f"{number}-{len(granted)}")
            if isinstance(answer, Assignment):
                granted.append(answer.lease.job)
                service.commit(answer.lease, ref(answer.lease, answer.spec.steps))
                service.release(answer.lease, Outcome(Ending.FINISHED), f"{answer.lease.job}-r")

    threads = [threading.Thread(target=island, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == sorted(names)
    assert all(job.state is JobState.DONE for job in service.fleet.jobs.values())


def test_service_tells_that_it_leaves_and_why(service, store, clock):
    clock.now += 100
    assert service.retire(50.0)
    assert service.retire(50.0)
    (last,) = [event for event in store.events(0, 100) if event.kind == "orchestrator-leaves"]
    assert last.reason.startswith("nothing is left to do")


def test_service_counts_a_node_through_restarts(service, start_again, clock):
    service.nodes_started(["island-1"])
    clock.now += 1800
    assert service.view().node_hours == 0  # nobody has seen it yet
    service.reconcile([Node("island-1", alive=True)])
    clock.now += 1800
    again = start_again()
    clock.now += 1800
    assert again.view().node_hours == pytest.approx(1.0)
    again.reconcile([])
    clock.now += 1800
    assert again.view().node_hours == pytest.approx(1.0)


@pytest.fixture
def start_pairs(store, policy, clock):
    """Serves islands of two nodes, of which one is enough."""
    prices = Prices(num_nodes=2)
    pairs = replace(policy, prices=prices, max_nodes=2, min_nodes=1)
    return lambda: FleetService(store, pairs, clock)


def test_service_counts_a_node_that_is_missing_no_more_through_restarts(start_pairs, clock):
    service = start_pairs()
    service.nodes_started(["island-1"])
    service.reconcile([Node("island-1", alive=True)])
    clock.now += 3600
    service.reconcile([Node("island-1", alive=True, missing=1)])
    clock.now += 9 * 3600
    assert service.view().node_hours == pytest.approx(11.0)
    assert start_pairs().view().node_hours == pytest.approx(11.0)


def test_service_counts_a_node_that_is_there_although_the_others_train_without_it(
    start_pairs, clock
):
    service = start_pairs()
    service.nodes_started(["island-1"])
    for _ in range(12):
        service.gather(Call("island-1", GangNode("a", "addr")))
        service.tick()
        clock.now += 1
    assert service.view().islands[0].nodes == ("a",)
    service.reconcile([Node("island-1", alive=True)])
    service.reconcile([Node("island-1", alive=True)])
    clock.now += 1800
    assert service.view().node_hours == pytest.approx(1.0)
