"""Who is revoked while a real server serves them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from atoll import authority, identity
from atoll.errors import Forbidden, Unreachable
from atoll.revocations import revoke
from atoll.types import Assignment, CheckpointRef, Ending, JobState, Outcome, Progress, Submission

ALICE, FAR = identity.operator("alice"), identity.island("run", "far-1")


@pytest.fixture
def bob(lab):
    with lab.client(identity.operator("bob")) as client:
        yield client


@pytest.fixture
def far(lab):
    with lab.client(FAR) as client:
        yield client


def test_operator_who_is_revoked_is_refused_at_the_next_call(lab, bob):
    with lab.client(ALICE) as alice:
        alice.fleet()
        revoke(lab.folder, [ALICE], "laptop stolen", 0.0)
        for call in (alice.fleet, lambda: alice.drain("out of spite"), lambda: alice.submit([])):
            with pytest.raises(Forbidden, match="operator alice was revoked"):
                call()
    with lab.client(ALICE) as renewed, pytest.raises(Forbidden, match="was revoked"):
        renewed.fleet()
    assert not bob.fleet().draining


def test_operator_who_is_revoked_is_shown_no_more_events(lab, bob, spec):
    with lab.client(ALICE) as alice, ThreadPoolExecutor(1) as pool:
        events = alice.events()
        assert next(events).kind == "orchestrator-serves"
        waiting = pool.submit(next, events)
        revoke(lab.folder, [ALICE], "", 0.0)
        lab.security.turn_out("run", lambda *_: None)
        with pytest.raises(Unreachable, match="CANCELLED"):
            waiting.result(timeout=30)
        with pytest.raises(Forbidden, match="was revoked"):
            next(alice.events())
    watched = bob.events()
    lab.security.turn_out("run", lambda *_: None)
    bob.submit([Submission(spec())])
    assert [next(watched).kind, next(watched).kind] == ["orchestrator-serves", "job-submitted"]


def test_island_that_is_revoked_loses_its_lease_and_every_call(lab, fleet, bob, far, spec):
    bob.submit([Submission(spec())])
    answer = far.acquire("far-1", "r")
    assert isinstance(answer, Assignment)
    revoke(lab.folder, [FAR], "node stolen", 0.0)
    for call in (
        lambda: far.acquire("far-1", "r"),
        lambda: far.heartbeat(answer.lease, Progress(1, 1.0, 1.0)),
        lambda: far.commit(answer.lease, CheckpointRef("k", "d", 100, 1)),
        lambda: far.release(answer.lease, Outcome(Ending.FINISHED), "f"),
        lambda: far.certify("far-1", authority.request_for(authority.new_key()), 10),
    ):
        with pytest.raises(Forbidden, match="far-1 was revoked"):
            call()
    for _ in range(2):
        lab.security.turn_out("run", fleet.island_gone)
    (job,) = bob.fleet().jobs
    assert (job.state, job.checkpoint) == (JobState.WAITING, None)
    told = [event for event in fleet.stored_events(0, 100) if event.kind == "island-gone"]
    assert [event.reason for event in told] == ["far-1 is gone: far-1 was revoked: node stolen"]
    with lab.client(identity.island("run", "far-2")) as other:
        assert isinstance(other.acquire("far-2", "r"), Assignment)


def test_island_of_another_run_goes_on_when_its_namesake_is_revoked(lab, fleet, bob, far, spec):
    bob.submit([Submission(spec())])
    revoke(lab.folder, [identity.island("another", "far-1")], "", 0.0)
    answer = far.acquire("far-1", "r")
    lab.security.turn_out("run", fleet.island_gone)
    far.heartbeat(answer.lease, Progress(1, 1.0, 1.0))


def test_token_of_a_revoked_name_joins_no_more_and_others_do(lab):
    named, free = lab.registrar.token("far-1", 60), lab.registrar.token("", 60)
    revoke(lab.folder, [FAR], "", time.time())
    for token in (named, free, lab.registrar.token("far-1", 60)):
        with lab.client(token.pair) as holder, pytest.raises(Forbidden, match="was revoked"):
            holder.certify("far-1", authority.request_for(authority.new_key()), 10)
    with lab.client(free.pair) as holder:
        assert holder.certify("far-2", authority.request_for(authority.new_key()), 10)
