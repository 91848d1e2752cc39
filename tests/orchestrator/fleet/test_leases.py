from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.errors import LeaseLost, Refused
from atoll.types import (
    Assignment,
    CheckpointRef,
    Directive,
    Ending,
    Incident,
    IncidentKind,
    JobState,
    Wait,
)
from orchestrator.fleet import leases, operations, steering
from orchestrator.fleet.state import Fleet


@pytest.fixture
def two_jobs(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    return game


def test_acquire_without_jobs_waits(game):
    answer = game.ask("island-1")
    assert isinstance(answer, Wait)
    assert not answer.dismissed
    assert game.fleet.islands["island-1"].state == "idle"


def test_acquire_grants_in_order_of_submission_under_growing_epochs(two_jobs):
    first, second = two_jobs.lease("island-1"), two_jobs.lease("island-2")
    assert (first.job, first.epoch, first.term_s) == ("expert-0", 1, 10.0)
    assert second.job == "expert-1"
    two_jobs.release(first, Ending.DRAINED)
    assert two_jobs.lease("island-3").epoch == 2


def test_acquire_same_request_gets_the_same_lease(two_jobs):
    first = two_jobs.ask("island-1", "r")
    two_jobs.now += 5
    assert two_jobs.ask("island-1", "r") == first
    assert two_jobs.job("expert-1").state is JobState.WAITING
    assert two_jobs.job("expert-0").expires_at == two_jobs.now + 10


def test_acquire_anew_ends_the_forgotten_lease(two_jobs):
    forgotten = two_jobs.lease("island-1")
    again = two_jobs.lease("island-1")
    assert (again.job, again.epoch) == (forgotten.job, 2)
    with pytest.raises(LeaseLost):
        two_jobs.beat(forgotten)


def test_acquire_that_comes_late_costs_a_lease_that_is_used_nothing(two_jobs):
    lease = two_jobs.lease("island-1")
    two_jobs.beat(lease, step=5)
    before = two_jobs.fleet
    late = two_jobs.ask("island-1", "an old request")
    assert isinstance(late, Wait)
    assert not late.dismissed
    assert two_jobs.fleet.jobs["expert-0"] == before.jobs["expert-0"]
    assert two_jobs.fleet.islands["island-1"] == before.islands["island-1"]
    two_jobs.tick(9)
    two_jobs.commit(lease, 10)


def test_acquire_of_an_island_that_has_begun_anew_is_answered_when_its_lease_has_run_out(two_jobs):
    two_jobs.beat(two_jobs.lease("island-1"))
    for _ in range(10):
        assert isinstance(two_jobs.ask("island-1"), Wait)
        two_jobs.tick(1)
    again = two_jobs.lease("island-1")
    assert (again.job, again.epoch) == ("expert-0", 2)


def test_acquire_gives_the_newest_checkpoint(two_jobs, ref):
    lease = two_jobs.lease()
    two_jobs.commit(lease, 40)
    two_jobs.release(lease, Ending.DRAINED)
    answer = two_jobs.ask("island-2")
    assert isinstance(answer, Assignment)
    assert answer.checkpoint == ref(lease, 40)


def test_acquire_in_a_draining_fleet_dismisses(two_jobs):
    two_jobs.apply(operations.drain(two_jobs.fleet, "enough"))
    answer = two_jobs.ask("island-1")
    assert isinstance(answer, Wait)
    assert answer.dismissed
    assert two_jobs.fleet.islands["island-1"].state == "gone"


def test_acquire_when_all_is_over_dismisses(game):
    game.submit()
    lease = game.lease()
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)
    answer = game.ask("island-1")
    assert isinstance(answer, Wait)
    assert answer.dismissed


def test_heartbeat_extends_the_lease_and_notes_progress_without_events(two_jobs):
    lease = two_jobs.lease()
    before = len(two_jobs.events)
    for _ in range(5):
        two_jobs.tick(9)
        assert two_jobs.beat(lease, step=7) is Directive.CONTINUE
    assert two_jobs.job().progress.step == 7
    assert len(two_jobs.events) == before


def test_heartbeat_tells_each_incident_once_and_counts_no_failure(two_jobs):
    lease = two_jobs.lease()
    first, second, third = (
        Incident(number, IncidentKind.RESTARTED, f"rank {number} fell") for number in (1, 2, 3)
    )
    two_jobs.beat(lease, incidents=[first])
    two_jobs.beat(lease, incidents=[first, second])  # the answer before was lost
    two_jobs.beat(lease, incidents=[first])  # and this call comes late
    assert told_of(two_jobs, lease) == ["rank 1 fell", "rank 2 fell"]
    assert two_jobs.job().reason == "rank 2 fell"
    assert two_jobs.job().failures == two_jobs.job().losses == 0
    two_jobs.release(lease, Ending.DRAINED)
    again = two_jobs.lease()
    two_jobs.beat(again, incidents=[first])  # numbers begin anew with a lease
    assert told_of(two_jobs, again) == ["rank 1 fell"]
    with pytest.raises(LeaseLost):
        two_jobs.beat(lease, incidents=[third])


def told_of(game, lease):
    events = [event for event in game.events if event.kind == "trainer-restarted"]
    return [event.reason for event in events if event.epoch == lease.epoch]


def test_commit_of_a_trainer_that_was_started_anew_has_a_folder_of_its_own(two_jobs, ref):
    lease = two_jobs.lease()
    ref = ref(lease, 10)
    for key in (f"{ref.key}.2", f"{ref.key}.0", f"{ref.key}.x", f"{ref.key}.2/deep"):
        committed = replace(ref, key=key)
        if key.endswith(".2"):
            two_jobs.apply(leases.commit(two_jobs.fleet, lease, committed, two_jobs.now))
            assert two_jobs.job().checkpoint == committed
        else:
            with pytest.raises(Refused, match="is not where a checkpoint"):
                leases.commit(two_jobs.fleet, lease, committed, two_jobs.now)


def test_heartbeat_in_a_draining_fleet_says_drain(two_jobs):
    lease = two_jobs.lease()
    two_jobs.apply(operations.drain(two_jobs.fleet, "enough"))
    assert two_jobs.beat(lease) is Directive.DRAIN


def test_heartbeat_after_expiry_tells_who_holds_the_lease(two_jobs):
    lease = two_jobs.lease("island-1")
    two_jobs.tick(11)
    with pytest.raises(LeaseLost, match=r"has ended: island-1 was silent for 10 s"):
        two_jobs.beat(lease)
    two_jobs.lease("island-2")
    with pytest.raises(LeaseLost, match=r"passed to island-2 under epoch 2"):
        two_jobs.beat(lease)


def test_heartbeat_for_an_unknown_job_is_lost(two_jobs):
    with pytest.raises(LeaseLost, match="no job"):
        two_jobs.beat(replace(two_jobs.lease(), job="expert-9"))


def test_commit_publishes_what_was_written_under_the_lease(two_jobs, ref):
    lease = two_jobs.lease()
    (record,) = two_jobs.commit(lease, 40).checkpoints
    assert (record.job, record.ref) == ("expert-0", ref(lease, 40))
    assert two_jobs.job().checkpoint == ref(lease, 40)


@pytest.mark.parametrize("step", [39, 40])
def test_commit_that_does_not_advance_is_refused(two_jobs, ref, step):
    lease = two_jobs.lease()
    two_jobs.commit(lease, 40)
    other = replace(ref(lease, step), digest="other")
    with pytest.raises(Refused, match="40 committed steps"):
        leases.commit(two_jobs.fleet, lease, other, two_jobs.now)


def test_commit_under_an_old_epoch_is_lost_and_the_new_checkpoint_stands(two_jobs, ref):
    zombie = two_jobs.lease("island-1")
    two_jobs.tick(11)
    heir = two_jobs.lease("island-2")
    two_jobs.commit(heir, 20)
    with pytest.raises(LeaseLost):
        two_jobs.commit(zombie, 90)
    assert two_jobs.job().checkpoint == ref(heir, 20)


@pytest.mark.parametrize(
    "wrong",
    [
        CheckpointRef("checkpoints/expert-0/epoch-0002/step-00000040", "d", 40, 2),
        CheckpointRef("checkpoints/expert-1/epoch-0001/step-00000040", "d", 40, 1),
        CheckpointRef("checkpoints/expert-0/epoch-0001/step-00000040", "d", 41, 1),
    ],
)
def test_commit_of_what_was_not_written_under_the_lease_is_refused(two_jobs, wrong):
    lease = two_jobs.lease()
    with pytest.raises(Refused, match="is not where"):
        leases.commit(two_jobs.fleet, lease, wrong, two_jobs.now)


def test_release_finished_ends_the_job_once(two_jobs):
    lease = two_jobs.lease()
    two_jobs.commit(lease, 100)
    two_jobs.release(lease, Ending.FINISHED, request_id="r")
    assert two_jobs.job().state is JobState.DONE
    assert not two_jobs.release(lease, Ending.FINISHED, request_id="r").events
    with pytest.raises(LeaseLost):
        two_jobs.release(lease, Ending.FINISHED, request_id="another")


def test_release_finished_without_the_last_checkpoint_is_refused(two_jobs):
    lease = two_jobs.lease()
    with pytest.raises(Refused, match="step 100 was never committed"):
        two_jobs.release(lease, Ending.FINISHED)
    assert two_jobs.job().state is JobState.LEASED


def test_release_finished_of_a_job_extended_meanwhile_goes_on(two_jobs, spec):
    lease = two_jobs.lease()
    two_jobs.submit(spec(steps=150))
    two_jobs.commit(lease, 100)
    two_jobs.release(lease, Ending.FINISHED)
    assert two_jobs.job().state is JobState.WAITING
    assert two_jobs.job().failures == 0


def test_release_drained_waits_without_a_failure(two_jobs):
    lease = two_jobs.lease()
    two_jobs.release(lease, Ending.DRAINED)
    assert (two_jobs.job().state, two_jobs.job().failures) == (JobState.WAITING, 0)
    assert two_jobs.lease().epoch == 2


def test_release_failed_backs_off_twice_as_long_each_time_then_pauses_the_job(game):
    game.submit()
    for pause_s in (1, 2):
        game.release(game.lease(), Ending.FAILED, "out of memory")
        assert isinstance(game.ask("island-1"), Wait)
        game.tick(pause_s)
    game.release(game.lease(), Ending.FAILED, "out of memory")
    assert (game.job().state, game.job().crash_loop) == (JobState.PAUSED, True)
    words = "paused in a crash loop, after 3 failed tries from step 0; the last: out of memory"
    assert game.job().reason == words
    assert game.events[-1].kind == "job-crash-loop"


def test_release_refused_fails_at_once_and_a_new_submission_tries_again(game):
    game.submit()
    game.release(game.lease(), Ending.REFUSED, "patch = 3 does not divide the image")
    assert game.job().state is JobState.FAILED
    assert game.job().reason == "patch = 3 does not divide the image"
    assert game.events[-1].kind == "job-failed"
    game.submit()
    assert game.job().state is JobState.WAITING


def test_release_failed_after_a_new_checkpoint_counts_from_one_again(game):
    game.submit()
    for step in (10, 20, 30, 40):
        lease = game.lease()
        game.commit(lease, step)
        game.release(lease, Ending.FAILED, "killed by signal 9")
        game.tick(1)
    assert (game.job().state, game.job().failures) == (JobState.WAITING, 1)


def test_release_failed_with_all_steps_committed_is_done(game):
    game.submit()
    lease = game.lease()
    game.commit(lease, 100)
    game.release(lease, Ending.FAILED, "killed by signal 9")
    assert game.job().state is JobState.DONE


def test_island_is_told_of_when_it_is_heard_for_the_first_time(game):
    game.ask("island-1")
    game.ask("island-1")
    assert [event.kind for event in game.events].count("island-joined") == 1


def test_dismissal_whose_answer_was_lost_is_said_again(two_jobs):
    lease = two_jobs.lease("island-1")
    two_jobs.apply(steering.drain_island(two_jobs.fleet, "island-1", ""))
    two_jobs.release(lease, Ending.DRAINED)
    for _ in range(2):
        answer = two_jobs.ask("island-1", "r")
        assert isinstance(answer, Wait)
        assert answer.dismissed
    stored = (("island-1", "r"),)
    two_jobs.fleet = Fleet(two_jobs.fleet.policy, two_jobs.fleet.jobs)
    two_jobs.apply(operations.restarted(two_jobs.fleet, stored, two_jobs.now))
    answer = two_jobs.ask("island-1", "r")
    assert isinstance(answer, Wait)
    assert answer.dismissed
    assert two_jobs.lease("island-1").epoch == 2  # whoever asks anew was started anew
    assert not two_jobs.fleet.islands["island-1"].leaving


def test_idle_island_asks_often_enough_to_be_known_as_alive(game):
    for term_s in (0.3, 0.9, 10.0):
        fleet = Fleet(replace(game.fleet.policy, term_s=term_s))
        answer, _ = leases.acquire(fleet, "island-1", "r", game.now)
        assert isinstance(answer, Wait)
        assert 0 < answer.retry_after_s <= min(1.0, term_s / 3)
