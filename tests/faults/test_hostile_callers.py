"""Who is not who they should be, at a real server over TLS: all are refused, and change nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from atoll import authority, identity
from atoll.authority import Pair
from atoll.revocations import revoke
from atoll.types import Assignment, JobSpec, JobState, Lease, Progress, Role, Submission
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import identity_pb2
from orchestrator.rpc.registrar import token_of
from tests.faults.hostile_messages import METHODS
from tests.faults.served import RUN, Served, serving

DENIED, ABORTED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.ABORTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE  # it did not get past the handshake
ISLANDS = [each.name for each in METHODS if each.containing_service.name == "Islands"]
OPERATORS = [each.name for each in METHODS if each.containing_service.name == "Operators"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), secured=True) as made:
        yield made


@pytest.fixture(scope="module")
def lease(served) -> Lease:
    """Held by the island ``victim``."""
    with served.client(identity.operator("local")) as operator:
        operator.submit([Submission(JobSpec("expert-0", Role.EXPERT, 0, "runs/test", 100, "d"))])
    with served.client(identity.island(RUN, "victim")) as victim:
        answer = victim.acquire("victim", "r")
    assert isinstance(answer, Assignment)
    return answer.lease


@pytest.fixture(autouse=True)
def unharmed(served, lease):
    """After each test the victim works on, and there is one job, of which nothing is committed."""
    yield
    with served.client(identity.island(RUN, "victim")) as victim:
        victim.heartbeat(lease, Progress(7, 1.0, 1.0))
    with served.client(identity.operator("local")) as operator:
        view = operator.fleet()
    (job,) = view.jobs
    assert (job.state, job.island, job.epoch) == (JobState.LEASED, "victim", lease.epoch)
    assert (job.checkpoint, job.progress.step, view.draining) == (None, 7, False)
    assert "unexpected error" not in served.log


def request_of(name: str, island: str, epoch: int) -> Message:
    """What the holder of the lease would send."""
    lease = wire.Lease(job="expert-0", island=island, epoch=epoch, term_s=600.0)
    key = f"checkpoints/expert-0/epoch-{epoch:04d}/step-00000100"
    checkpoint = wire.CheckpointRef(key=key, digest="e" * 64, step=100, epoch=epoch)
    return {
        "Acquire": wire.AcquireRequest(island=island, request_id="q"),
        "Heartbeat": wire.HeartbeatRequest(lease=lease, progress=wire.Progress(step=99)),
        "Commit": wire.CommitRequest(lease=lease, checkpoint=checkpoint),
        "Release": wire.ReleaseRequest(lease=lease, ending=wire.ENDING_FINISHED, request_id="q"),
        "SendLog": wire.SendLogRequest(island=island, job="expert-0", epoch=epoch, text=b"lies\n"),
        "SendTrace": wire.SendTraceRequest(lease=lease, trace=wire.Trace(wish="w", trouble="lies")),
        "Profile": wire.ProfileRequest(job="expert-0", steps=1),
        "Gather": wire.GatherRequest(island=island, address="127.0.0.1"),
        "WatchLog": wire.WatchLogRequest(name="expert-0", lines=5),
        "Certify": certify(island),
        "Submit": wire.SubmitRequest(),
        "GetFleet": wire.GetFleetRequest(),
        "WatchEvents": wire.WatchEventsRequest(),
        "Drain": wire.DrainRequest(reason="out of spite"),
        "Steer": wire.SteerRequest(action=wire.ACTION_CANCEL),
    }[name]


def certify(island: str, key: authority.Key | None = None) -> identity_pb2.CertifyRequest:
    request = authority.request_for(key or authority.new_key())
    return identity_pb2.CertifyRequest(island=island, signing_request=request)


def token(served: Served, run: str, island: str, begin: float = 0.0, seconds: float = 600) -> Pair:
    return token_of(served.ca, run, island, time.time() + begin, seconds).pair


@pytest.mark.parametrize("name", [*ISLANDS, "Certify"])
def test_island_with_anothers_lease_or_name_is_denied(served, lease, name):
    with served.sender(identity.island(RUN, "thief")) as send:
        status, told = send(name, request_of(name, "victim", lease.epoch))
    assert (status, told) == (DENIED, "thief may not speak for victim")


@pytest.mark.parametrize("name", OPERATORS)
def test_island_and_token_are_no_operators(served, lease, name):
    for who in (identity.island(RUN, "victim"), token(served, RUN, "far-1")):
        with served.sender(who) as send:
            status, told = send(name, request_of(name, "victim", lease.epoch))
        assert status is DENIED
        assert "may not call Operators" in told


@pytest.mark.parametrize("name", [*ISLANDS, "Certify"])
def test_operator_is_no_island(served, lease, name):
    with served.sender(identity.operator("mallory")) as send:
        status, told = send(name, request_of(name, "victim", lease.epoch))
    assert status is DENIED
    assert told.startswith("operator mallory may not call ")


@pytest.mark.parametrize("name", [*ISLANDS, "Certify"])
def test_island_of_another_run_is_denied_under_the_victims_very_name(served, lease, name):
    with served.sender(identity.island("another", "victim")) as send:
        status, told = send(name, request_of(name, "victim", lease.epoch))
    assert (status, told) == (DENIED, "victim is of another run")


@pytest.mark.parametrize("name", ["Heartbeat", "Commit", "Release"])
def test_island_with_a_lease_it_never_had_loses_it(served, lease, name):
    with served.sender(identity.island(RUN, "thief")) as send:
        for epoch in (lease.epoch, lease.epoch + 1, 2**40):
            status, told = send(name, request_of(name, "thief", epoch))
            assert status is ABORTED
            assert "the lease of thief on expert-0" in told


@pytest.mark.parametrize("name", [*ISLANDS, *OPERATORS, "Certify"])
@pytest.mark.parametrize("forger", ["another authority", "nobody but itself", "an ended term"])
def test_forged_and_ended_certificates_get_past_no_handshake(served, lease, name, forger):
    who = identity.operator("local") if name in OPERATORS else identity.island(RUN, "victim")
    other = authority.new_authority(time.time(), 600)
    pair = {
        "another authority": authority.for_identity(other, who, time.time(), 600),
        "nobody but itself": other,
        "an ended term": served.pair(who, begin=-1000, seconds=500),
    }[forger]
    with served.sender(pair) as send:
        status, _ = send(name, request_of(name, "victim", lease.epoch))
    assert status is UNAVAILABLE


def test_tokens_of_others_are_refused_and_serve_nobody(served):
    other = authority.new_authority(time.time(), 600)
    cases = {
        "ended": (token(served, RUN, "far-1", begin=-1000, seconds=500), UNAVAILABLE),
        "of another lab": (token_of(other, RUN, "far-1", time.time(), 600).pair, UNAVAILABLE),
        "of another run": (token(served, "another", "far-1"), DENIED),
        "of another island": (token(served, RUN, "far-2"), DENIED),
    }
    for pair, expected in cases.values():
        with served.sender(pair) as send:
            assert send("Certify", certify("far-1"))[0] is expected


def test_token_that_was_used_serves_the_same_key_alone(served):
    key = authority.new_key()
    with served.sender(token(served, RUN, "far-3")) as send:
        assert send("Certify", certify("far-3", key))[0] is grpc.StatusCode.OK
    for pair in (token(served, RUN, "far-3"), token(served, RUN, "")):
        with served.sender(pair) as send:
            assert send("Certify", certify("far-3")) == (DENIED, "far-3 is another's name already")
            assert send("Certify", certify("far-3", key))[0] is grpc.StatusCode.OK


@pytest.mark.parametrize("name", [*ISLANDS, *OPERATORS, "Certify"])
def test_who_was_revoked_is_denied_every_call(served, lease, name):
    folder: Path = served.folder / "tls"
    mallory, far = identity.operator("revoked"), identity.island(RUN, "far-9")
    revoke(folder, [mallory, far], "stolen", time.time())
    who = mallory if name in OPERATORS else far
    with served.sender(who) as send:
        status, told = send(name, request_of(name, "far-9", lease.epoch))
    assert (status, told) == (DENIED, f"{who} was revoked")
