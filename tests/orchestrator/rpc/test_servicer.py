"""The control plane over a real connection."""

from __future__ import annotations

import contextlib

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atoll.control import RUN_KEY, ControlClient
from atoll.errors import Busy, LeaseLost, Refused, Unreachable
from atoll.types import (
    Assignment,
    Directive,
    Ending,
    JobState,
    Lease,
    Outcome,
    Progress,
    Submission,
    Wait,
)
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc

OURS = ((RUN_KEY, "run"),)


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as opened:
        yield opened


def test_wire_carries_an_islands_whole_life(client, spec, ref):
    client.submit([Submission(spec())])
    answer = client.acquire("island-1", "r")
    assert isinstance(answer, Assignment)
    assert answer.spec == spec()
    lease = answer.lease
    assert client.heartbeat(lease, Progress(3, 0.5, 10.0)) is Directive.CONTINUE
    client.commit(lease, ref(lease, 100))
    client.release(lease, Outcome(Ending.FINISHED), "f")
    job = client.fleet().jobs[0]
    assert (job.state, job.checkpoint) == (JobState.DONE, ref(lease, 100))
    assert client.acquire("island-1", "r2") == Wait(1.0, dismissed=True)


def test_wire_repeats_are_answered_the_same(client, spec, ref):
    client.submit([Submission(spec())])
    answers = [client.acquire("island-1", "r") for _ in range(3)]
    lease = answers[0].lease
    for _ in range(3):
        client.commit(lease, ref(lease, 100))
    for _ in range(3):
        client.release(lease, Outcome(Ending.FINISHED), "f")
    client.submit([Submission(spec())])
    assert answers == [answers[0]] * 3
    assert client.fleet().jobs[0].state is JobState.DONE


def test_wire_release_is_answered_the_same_after_the_job_was_granted_again(client, spec):
    client.submit([Submission(spec())])
    lease = client.acquire("island-1", "r").lease
    client.release(lease, Outcome(Ending.DRAINED), "d")
    assert client.acquire("island-2", "s").lease.epoch == 2
    client.release(lease, Outcome(Ending.DRAINED), "d")
    assert client.fleet().jobs[0].island == "island-2"


def test_wire_long_reason_is_cut_and_told(client, spec):
    client.submit([Submission(spec())])
    lease = client.acquire("island-1", "r").lease
    client.release(lease, Outcome(Ending.FAILED, "why " * 10_000), "f")
    assert 1000 < len(client.fleet().jobs[0].reason) < 1100
    with pytest.raises(LeaseLost, match="why why"):
        client.heartbeat(lease, Progress(0, 0.0, 0.0))


def test_wire_of_another_run_is_not_answered(address, client, spec, ref):
    client.submit([Submission(spec())])
    lease = client.acquire("island-1", "r").lease
    with ControlClient(address, "another") as stranger:
        for call in (
            lambda: stranger.acquire("island-1", "x"),
            lambda: stranger.commit(lease, ref(lease, 10)),
            lambda: stranger.drain("out of spite"),
            lambda: next(stranger.events()),
        ):
            with pytest.raises(Unreachable, match="another run's orchestrator listens there"):
                call()
    (job,) = client.fleet().jobs
    assert (job.checkpoint, job.state) == (None, JobState.LEASED)


def test_wire_lost_lease_comes_back_as_lease_lost_with_its_sentence(client, service, spec, ref):
    client.submit([Submission(spec())])
    lease = client.acquire("island-1", "r").lease
    service.island_gone("island-1", "killed by signal 9")
    for call in (
        lambda: client.heartbeat(lease, Progress(0, 0.0, 0.0)),
        lambda: client.commit(lease, ref(lease, 10)),
        lambda: client.release(lease, Outcome(Ending.DRAINED), "d"),
    ):
        with pytest.raises(LeaseLost, match=r"has ended: island-1 is gone: killed by signal 9"):
            call()


def test_wire_refusals_come_back_as_refused_with_their_sentence(client, spec, ref):
    client.submit([Submission(spec())])
    lease = client.acquire("island-1", "r").lease
    client.commit(lease, ref(lease, 10))
    with pytest.raises(Refused, match="begun with other settings"):
        client.submit([Submission(spec(digest="other"))])


@pytest.mark.parametrize(
    "request_message",
    [
        wire.AcquireRequest(),
        wire.AcquireRequest(island="island-1"),
        wire.CommitRequest(),
        wire.HeartbeatRequest(),
        wire.ReleaseRequest(),
        wire.SubmitRequest(
            jobs=[wire.Submission(spec=wire.JobSpec(name="x", run_uri="y", role=99))]
        ),
    ],
)
def test_wire_message_with_holes_is_a_failed_precondition(channel, request_message):
    name = type(request_message).__name__.removesuffix("Request")
    stub = rpc.OperatorsStub(channel) if name == "Submit" else rpc.IslandsStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, name)(request_message, timeout=10, metadata=OURS)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details()


def test_wire_unexpected_errors_are_internal_and_tell_nothing(channel, service, monkeypatch):
    def broken():
        raise RuntimeError("secret path /home/me")

    monkeypatch.setattr(service, "view", broken)
    with pytest.raises(grpc.RpcError) as caught:
        rpc.OperatorsStub(channel).GetFleet(wire.GetFleetRequest(), timeout=10, metadata=OURS)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()


def test_wire_events_come_from_the_beginning_and_as_they_happen(client, spec):
    client.submit([Submission(spec())])
    events = client.events(after=1)
    assert next(events).kind == "job-submitted"
    client.drain("enough")
    drained = next(events)
    assert (drained.kind, drained.reason, drained.number) == ("draining", "enough", 3)
    events.close()


def test_wire_watchers_leave_room_for_other_calls(client, spec):
    watching = [client.events() for _ in range(16)]
    for events in watching:
        assert next(events).kind == "orchestrator-serves"
    with pytest.raises(Busy, match="16 watch the events already"):
        next(client.events())
    client.submit([Submission(spec())])
    for events in watching:
        assert next(events).kind == "job-submitted"
        events.close()
    again = None
    while again is None:  # room is there as soon as one is seen to have left
        with contextlib.suppress(Busy):
            again = next(client.events())
    assert again.kind == "orchestrator-serves"


def test_wire_deadline_passes_as_unreachable(client, service):
    # A stuck disk would hold the lock like this.
    with service._changed, pytest.raises(Unreachable, match="does not answer"):
        client._call(client._operators.GetFleet, wire.GetFleetRequest(), deadline_s=0.2)
    assert client.fleet().jobs == ()


def test_wire_commit_holds_up_a_heartbeat_for_half_a_term_at_most(client, ref, monkeypatch):
    deadlines = []
    monkeypatch.setattr(
        client._islands, "Commit", lambda _, timeout, **__: deadlines.append(timeout)
    )
    for term_s in (4.0, 600.0):
        lease = Lease("expert-0", "island-1", 1, term_s)
        client.commit(lease, ref(lease, 10))
    assert deadlines == [2.0, 10.0]


def test_wire_to_nobody_is_unreachable(address, service):
    with (
        ControlClient("127.0.0.1:1", "run") as client,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"),
    ):
        client.fleet()


def test_health_of_every_service_is_told(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "atoll.wire.v1.Islands", "atoll.wire.v1.Operators"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_watchers_leave_room_for_other_calls(channel, client):
    stub = health_pb2_grpc.HealthStub(channel)
    watching = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(40)]
    told = []
    for watch in watching:
        try:
            told.append(next(watch).status)
        except grpc.RpcError as error:
            told.append(error.code())
    assert told.count(health_pb2.HealthCheckResponse.SERVING) == 4
    assert told.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 36
    assert client.fleet().jobs == ()
    for watch in watching:
        watch.cancel()
