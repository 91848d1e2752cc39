"""Checkpoints after their commit: doubted, found sound or damaged, collected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.errors import Refused
from atoll.types import Assignment, CheckpointRecord, Ending, JobState, Keeping, Submission, Wait
from orchestrator.fleet import operations, registry
from orchestrator.fleet.state import Fleet


@pytest.fixture
def begun(game):
    """One job with checkpoints at steps 20 and 40, under epochs 1 and 2."""
    game.submit()
    first = game.lease()
    game.commit(first, 20)
    game.release(first, Ending.DRAINED)
    game.commit(game.lease(), 40)
    return game


def records(ref, game, *keeping):
    refs = [replace(ref(lease_of(game, epoch), 20 * epoch), epoch=epoch) for epoch in (1, 2)]
    return [
        CheckpointRecord("expert-0", each, how) for each, how in zip(refs, keeping, strict=True)
    ]


def lease_of(game, epoch):
    return replace(game.job().lease(game.fleet.policy), epoch=epoch)


def report_damage(game):
    lease = game.job().lease(game.fleet.policy)
    game.release(lease, Ending.DAMAGED, "weights is damaged")


def test_job_whose_checkpoint_is_doubted_is_granted_to_nobody(begun):
    report_damage(begun)
    job = begun.job()
    assert (job.state, job.doubted) == (JobState.WAITING, job.checkpoint)
    assert job.reason == "its checkpoint at step 40 is being verified: weights is damaged"
    assert begun.events[-1].kind == "checkpoint-doubted"
    begun.tick(10_000)
    answer = begun.ask("island-2")
    assert isinstance(answer, Wait)
    assert 0 < answer.retry_after_s <= 1


def test_job_with_a_damaged_checkpoint_goes_on_from_the_one_before(begun, ref):
    report_damage(begun)
    known = records(ref, begun, Keeping.KEPT, Keeping.KEPT)
    change = begun.apply(
        registry.found_damaged(begun.fleet, "expert-0", known, "a byte differs", begun.now)
    )
    assert [(record.ref.step, record.keeping) for record in change.checkpoints] == [
        (40, Keeping.DAMAGED)
    ]
    (event,) = change.events
    assert event.kind == "checkpoint-damaged"
    assert event.reason == (
        "step 40 is lost, the job goes on from step 20 of epoch 1: a byte differs"
    )
    answer = begun.ask("island-2")
    assert isinstance(answer, Assignment)
    assert (answer.checkpoint.step, answer.lease.epoch) == (20, 3)
    assert begun.job().failures == 0
    begun.commit(answer.lease, 40)
    assert begun.job().checkpoint.epoch == 3


@pytest.mark.parametrize("gone", [Keeping.DAMAGED, Keeping.COLLECTED])
def test_job_without_another_whole_checkpoint_begins_anew(begun, ref, gone):
    report_damage(begun)
    known = records(ref, begun, gone, Keeping.KEPT)
    begun.apply(registry.found_damaged(begun.fleet, "expert-0", known, "gone", begun.now))
    assert begun.job().reason == "step 40 is lost, the job goes on from the beginning: gone"
    answer = begun.ask("island-2")
    assert answer.checkpoint is None
    assert begun.fleet.jobs.committed == 0


def test_job_whose_checkpoint_is_sound_counts_a_failed_try(begun):
    report_damage(begun)
    words = "is whole; an island could not load it"
    begun.apply(registry.found_sound(begun.fleet, "expert-0", words, begun.now))
    job = begun.job()
    assert (job.failures, job.doubted, job.step) == (1, None, 40)
    assert job.reason == f"try 1 of 3 failed: the checkpoint at step 40 {words}"
    begun.tick(2)
    assert isinstance(begun.ask("island-2"), Assignment)


def test_island_that_cannot_load_time_after_time_ends_in_a_crash_loop(begun):
    for _ in range(3):
        report_damage(begun)
        begun.apply(registry.found_sound(begun.fleet, "expert-0", "is whole", begun.now))
        begun.tick(100)
        begun.ask("island-1")
    assert begun.job().crash_loop
    assert "job-crash-loop" in {event.kind for event in begun.events}


def test_damage_is_not_believed_of_a_job_that_never_committed(game):
    game.submit()
    lease = game.lease()
    with pytest.raises(Refused, match="has no checkpoint that could be damaged"):
        game.release(lease, Ending.DAMAGED, "weights is damaged")


def test_drained_job_keeps_its_doubt_until_it_is_verified(begun, ref):
    begun.apply(operations.drain(begun.fleet, "enough"))
    report_damage(begun)
    assert begun.job().state is JobState.PAUSED
    begun.submit()
    assert isinstance(begun.ask("island-2"), Wait)
    known = records(ref, begun, Keeping.KEPT, Keeping.KEPT)
    begun.apply(registry.found_damaged(begun.fleet, "expert-0", known, "gone", begun.now))
    assert begun.ask("island-2").checkpoint.step == 20


@pytest.fixture
def finished(begun):
    lease = begun.job().lease(begun.fleet.policy)
    begun.commit(lease, 100)
    begun.release(lease, Ending.FINISHED)
    return begun


def test_finished_job_found_damaged_is_made_again_from_the_one_before(finished, ref):
    job = finished.job()
    finished.submit_found(Submission(job.spec, job.epoch, job.checkpoint, damaged=True))
    assert (finished.job().state, finished.job().doubted) == (JobState.WAITING, job.checkpoint)
    assert not finished.fleet.is_over
    known = records(ref, finished, Keeping.KEPT, Keeping.KEPT)
    finished.apply(registry.found_damaged(finished.fleet, "expert-0", known, "gone", finished.now))
    assert finished.ask("island-3").checkpoint.step == 40


def test_finished_job_found_damaged_and_sound_again_stays_finished(finished):
    job = finished.job()
    finished.submit_found(Submission(job.spec, job.epoch, job.checkpoint, damaged=True))
    finished.apply(registry.found_sound(finished.fleet, "expert-0", "is whole", finished.now))
    assert (finished.job().state, finished.job().failures) == (JobState.DONE, 0)


def test_damage_of_an_older_checkpoint_changes_nothing(finished, ref):
    job = finished.job()
    before = finished.fleet
    older = replace(job.checkpoint, step=40)
    finished.submit_found(Submission(job.spec, job.epoch, older, damaged=True))
    assert finished.fleet.jobs["expert-0"] == before.jobs["expert-0"]


def test_collection_says_what_goes_and_what_it_frees(begun, ref):
    known = records(ref, begun, Keeping.KEPT, Keeping.KEPT)
    change = registry.collected("expert-0", known[:1], 12_345)
    assert [record.keeping for record in change.checkpoints] == [Keeping.COLLECTED]
    (event,) = change.events
    assert event.reason == "step 20 is kept no longer, which frees 12,345 bytes"
    (event,) = registry.collected("expert-0", [], 7).events
    assert event.reason == "what islands left unpublished goes, which frees 7 bytes"


def test_restarted_fleet_gives_a_doubted_job_to_an_island_that_may_say_it_again(begun):
    report_damage(begun)
    stored = replace(begun.job(), doubted=None, ready_at=0.0)  # neither is kept
    fleet = Fleet(begun.fleet.policy).after(operations.Change(jobs=(stored,)))
    assert fleet.jobs["expert-0"].is_ready(begun.now)
