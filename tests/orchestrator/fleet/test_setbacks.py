"""What sets a job back: each cause has a budget of its own, and a checkpoint forgives all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.types import Action, Directive, Ending, JobState, Outcome
from orchestrator.fleet import leases, operations, steering
from orchestrator.fleet.state import Fleet

LIMITS = {"max_failures": 1, "max_losses": 2, "max_preemptions": 3, "stuck_s": 30.0}


@pytest.fixture
def limited(game, policy):
    """A game with narrow budgets."""
    game.fleet = Fleet(replace(policy, **LIMITS), ticked_at=game.now)
    game.submit()
    return game


def fail(game):
    game.release(game.lease(), Ending.FAILED, "broke")


def lose(game):
    island = game.lease().island
    game.apply(operations.island_gone(game.fleet, island, "killed", game.now))


def preempt(game):
    game.release(game.lease(), Ending.PREEMPTED)


@pytest.mark.parametrize(
    ("setback", "forgiven", "words"),
    [
        (lose, 2, "given up after 3 lost islands; the last: island-1 is gone: killed"),
        (preempt, 3, "given up after 4 preemptions; the last: told to leave at step 0"),
    ],
)
def test_job_is_given_up_once_one_cause_has_used_up_its_budget(limited, setback, forgiven, words):
    for _ in range(forgiven):
        setback(limited)
        assert limited.job().state is JobState.WAITING
        limited.tick(100)
    setback(limited)
    assert (limited.job().state, limited.job().reason) == (JobState.FAILED, words)
    assert limited.events[-1].kind == "job-failed"


def test_job_that_fails_time_after_time_is_paused_with_reason_and_log(limited):
    for _ in range(2):
        outcome = Outcome(Ending.FAILED, "broke", "Traceback: the cause\n")
        lease = limited.lease()
        limited.apply(leases.release(limited.fleet, lease, outcome, limited.request(), limited.now))
        limited.tick(100)
    (job,) = limited.fleet.view(limited.now).jobs
    assert (job.state, job.crash_loop) == (JobState.PAUSED, True)
    assert job.reason == "paused in a crash loop, after 2 failed tries from step 0; the last: broke"
    assert job.log == "Traceback: the cause\n"


@pytest.mark.parametrize("action", [Action.RESUME, Action.RETRY])
def test_job_paused_in_a_crash_loop_goes_on_when_told_to(limited, action):
    for _ in range(2):
        fail(limited)
        limited.tick(100)
    limited.apply(steering.steer(limited.fleet, action, [], "", limited.now))
    job = limited.job()
    assert (job.state, job.crash_loop, job.failures) == (JobState.WAITING, False, 0)


def test_crash_loop_ends_with_a_new_submission(limited):
    for _ in range(2):
        fail(limited)
        limited.tick(100)
    limited.submit()
    assert (limited.job().state, limited.job().crash_loop) == (JobState.WAITING, False)


def test_job_set_back_by_several_causes_is_not_given_up(limited):
    for setback in (fail, lose, lose, preempt, preempt, preempt):
        setback(limited)
        limited.tick(100)
    job = limited.job()
    assert (job.failures, job.losses, job.preemptions) == (1, 2, 3)
    assert job.state is JobState.WAITING


def test_checkpoint_forgives_every_cause(limited):
    for setback in (fail, lose, preempt):
        setback(limited)
        limited.tick(100)
    limited.commit(limited.lease(), 10)
    job = limited.job()
    assert (job.failures, job.losses, job.preemptions) == (0, 0, 0)


@pytest.mark.parametrize(
    ("setback", "pauses"), [(fail, [1.0]), (lose, [0.0, 1.0]), (preempt, [0.0, 1.0, 2.0])]
)
def test_pause_doubles_and_begins_at_once_for_failures_alone(limited, setback, pauses):
    for pause in pauses:
        setback(limited)
        assert limited.job().ready_at - limited.now == pause
        limited.tick(100)


def test_island_lost_while_the_fleet_drains_counts_for_nothing(limited):
    lease = limited.lease()
    limited.apply(operations.drain(limited.fleet, "enough"))
    limited.apply(operations.island_gone(limited.fleet, lease.island, "killed", limited.now))
    assert (limited.job().state, limited.job().losses) == (JobState.PAUSED, 0)


def test_failed_try_keeps_the_end_of_its_log(limited):
    lease = limited.lease()
    outcome = Outcome(Ending.FAILED, "broke", "x" * 5000 + "the cause")
    limited.apply(leases.release(limited.fleet, lease, outcome, "r", limited.now))
    assert len(limited.job().log) == 4001
    assert limited.job().log.endswith("the cause")
    assert limited.fleet.view(limited.now).jobs[0].log == limited.job().log


def test_trainer_that_stands_still_is_to_be_started_anew_and_told_once(limited):
    lease = limited.lease()
    for _ in range(6):
        limited.now += 5
        assert limited.beat(lease, step=7) is Directive.CONTINUE
    limited.now += 6  # the step was seen 31 s ago
    assert limited.beat(lease, step=7) is Directive.RESTART
    assert limited.events[-1].kind == "trainer-stuck"
    assert limited.events[-1].reason == "no step for 31 s at step 7; its trainer is killed"
    limited.now += 5
    assert limited.beat(lease, step=7) is Directive.CONTINUE
    assert [event.kind for event in limited.events].count("trainer-stuck") == 1


def test_trainer_that_makes_steps_is_never_stuck(limited):
    lease = limited.lease()
    for step in range(1, 40):
        limited.now += 5
        assert limited.beat(lease, step=step) is Directive.CONTINUE


def test_trainer_that_fetches_is_not_stuck_until_no_more_bytes_come(limited):
    lease = limited.lease()
    for num_bytes in range(10, 100, 10):
        limited.now += 20
        assert limited.beat(lease, fetched_bytes=num_bytes) is Directive.CONTINUE
    limited.now += 20
    assert limited.beat(lease, fetched_bytes=90) is Directive.CONTINUE
    limited.now += 11  # bytes came 31 s ago; that it fetches no more is no step
    assert limited.beat(lease, fetched_bytes=0) is Directive.RESTART


def test_trainer_gets_its_time_again_from_a_restarted_orchestrator(limited):
    lease = limited.lease()
    limited.now += 29
    limited.beat(lease)
    limited.apply(operations.restarted(limited.fleet, (), limited.now))
    limited.now += 9
    assert limited.beat(lease) is Directive.CONTINUE
