"""What an operator does to single jobs and islands."""

from __future__ import annotations

import pytest

from atoll.errors import Refused
from atoll.types import Action, Directive, Ending, JobState, Wait
from orchestrator.fleet import steering


@pytest.fixture
def two(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    return game


def steer(game, action, *names, reason=""):
    return game.apply(steering.steer(game.fleet, action, names, reason, game.now))


def drain_island(game, name):
    return game.apply(steering.drain_island(game.fleet, name, ""))


def test_pause_of_a_waiting_job_holds_it_until_it_is_resumed(two):
    steer(two, Action.PAUSE, "expert-0", reason="the data are wrong")
    assert two.job("expert-0").state is JobState.PAUSED
    assert two.job("expert-0").reason == "paused: the data are wrong"
    assert two.lease().job == "expert-1"
    assert isinstance(two.ask("island-2"), Wait)
    steer(two, Action.RESUME, "expert-0")
    assert two.lease("island-2").job == "expert-0"


def test_pause_of_a_job_at_work_drains_it_and_leaves_its_island_to_others(two):
    lease = two.lease()
    steer(two, Action.PAUSE, lease.job)
    assert two.job(lease.job).state is JobState.LEASED
    assert two.beat(lease) is Directive.DRAIN
    two.commit(lease, 40)
    two.release(lease, Ending.DRAINED)
    assert (two.job(lease.job).state, two.job(lease.job).step) == (JobState.PAUSED, 40)
    assert two.lease("island-1").job == "expert-1"


def test_pause_of_a_job_whose_island_dies_still_pauses_it(two):
    lease = two.lease()
    steer(two, Action.PAUSE, lease.job)
    two.tick(11)
    assert two.job(lease.job).state is JobState.PAUSED


@pytest.mark.parametrize("action", [Action.PAUSE, Action.CANCEL])
def test_job_submitted_again_before_it_has_paused_goes_on(two, spec, action):
    lease = two.lease()
    steer(two, action, lease.job)
    two.submit(spec("expert-0"))
    assert two.beat(lease) is Directive.CONTINUE
    two.release(lease, Ending.DRAINED)
    assert two.job(lease.job).state is JobState.WAITING


def test_resume_of_a_job_that_was_to_pause_is_refused_until_it_has(two):
    lease = two.lease()
    steer(two, Action.PAUSE, lease.job)
    with pytest.raises(Refused, match="expert-0 is leased: there is nothing to resume"):
        steer(two, Action.RESUME, lease.job)


def test_cancel_kills_a_job_at_work_and_retry_brings_it_back(two):
    lease = two.lease()
    two.commit(lease, 40)
    steer(two, Action.CANCEL, lease.job)
    assert two.beat(lease) is Directive.CANCEL
    two.release(lease, Ending.DRAINED, "cancelled")
    assert two.job(lease.job).state is JobState.CANCELLED
    steer(two, Action.RETRY, lease.job)
    again = two.lease()
    assert (again.job, again.epoch, two.job(again.job).step) == (lease.job, 2, 40)


def test_steering_nobody_by_name_means_all_that_it_can_be_done_to(two):
    lease = two.lease()
    steer(two, Action.PAUSE)
    assert two.job("expert-1").state is JobState.PAUSED
    assert two.beat(lease) is Directive.DRAIN
    kinds = [event.kind for event in two.events]
    assert kinds.count("job-pause") == 2


def test_steering_an_unknown_job_names_those_there_are(two):
    with pytest.raises(Refused, match=r"no job is called 'expert-7'; there is expert-0, expert-1"):
        steer(two, Action.PAUSE, "expert-7")


def test_drained_island_checkpoints_and_is_dismissed_while_others_work_on(two):
    lease, other = two.lease("island-1"), two.lease("island-2")
    drain_island(two, "island-1")
    assert two.beat(other) is Directive.CONTINUE
    assert two.beat(lease) is Directive.DRAIN
    assert two.beat(lease) is Directive.DRAIN
    two.release(lease, Ending.DRAINED)
    answer = two.ask("island-1")
    assert isinstance(answer, Wait)
    assert answer.dismissed
    assert two.lease("island-3").job == lease.job


def test_draining_an_island_that_is_not_alive_names_those_that_are(two):
    two.lease("island-1")
    with pytest.raises(Refused, match="no island called 'island-9' is alive; there is island-1"):
        drain_island(two, "island-9")


def test_steering_nobody_where_nothing_can_be_done_is_refused(game):
    game.submit()
    with pytest.raises(Refused, match="no job stands where there is anything to resume"):
        steering.steer(game.fleet, Action.RESUME, [], "", game.now)
