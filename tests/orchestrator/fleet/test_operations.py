from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.errors import LeaseLost, Refused
from atoll.types import Action, Directive, Ending, JobState, Lease, Submission, Wait
from orchestrator.fleet import operations, steering
from orchestrator.fleet.state import Fleet


def test_submit_twice_changes_nothing(game, spec):
    game.submit(spec())
    lease = game.lease()
    assert not game.submit(spec()).events
    game.beat(lease)


def test_submit_with_other_settings_before_any_checkpoint_begins_anew(game, spec):
    game.submit(spec())
    lease = game.lease()
    game.submit(spec(digest="other"))
    with pytest.raises(LeaseLost):
        game.commit(lease, 10)
    assert game.job().spec.digest == "other"
    assert game.lease("island-2").epoch == 2


def test_submit_with_other_settings_is_refused_and_adds_nothing(game, spec):
    game.submit(spec())
    game.commit(game.lease(), 10)
    with pytest.raises(Refused, match=r"expert-0 was begun with other settings.*run\.uri"):
        game.submit(spec("expert-1"), spec(digest="other"))
    assert list(game.fleet.jobs) == ["expert-0"]


def test_submit_with_more_steps_reopens_a_done_job(game, spec):
    game.submit(spec(steps=100))
    lease = game.lease()
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)
    game.submit(spec(steps=150))
    assert game.job().state is JobState.WAITING
    assert game.lease().epoch == 2


def test_submit_from_another_place_keeps_the_job_and_says_so(game, spec):
    game.submit(spec())
    lease = game.lease()
    (event,) = game.submit(replace(spec(), run_uri="runs/moved")).events
    assert (event.kind, event.reason) == (
        "job-moved",
        "lies at runs/moved now",
    )
    game.beat(lease)
    assert game.job().spec.run_uri == "runs/moved"


def test_submit_with_fewer_steps_than_are_committed_is_refused(game, spec):
    game.submit(spec(steps=100))
    game.commit(game.lease(), 60)
    with pytest.raises(Refused, match="60 committed steps"):
        game.submit(spec(steps=50))


def test_submit_with_just_as_many_steps_as_are_committed_is_done(game, spec):
    game.submit(spec(steps=100))
    lease = game.lease()
    game.commit(lease, 60)
    game.release(lease, Ending.DRAINED)
    game.submit(spec(steps=60))
    assert game.job().state is JobState.DONE


def test_submit_again_gives_a_failed_job_another_chance(game):
    game.submit()
    for pause_s in (1, 2, 0):
        game.release(game.lease(), Ending.FAILED, "no")
        game.tick(pause_s)
    game.submit()
    assert (game.job().state, game.job().failures) == (JobState.WAITING, 0)
    assert game.lease().epoch == 4


def test_submit_to_an_empty_database_goes_on_from_what_the_store_holds(game, spec, ref):
    found = ref(Lease("expert-0", "island-9", 3, 10.0), 40)
    change = game.submit_found(Submission(spec(), epoch=4, checkpoint=found))
    assert [record.ref for record in change.checkpoints] == [found]
    answer = game.ask("island-1")
    assert (answer.lease.epoch, answer.checkpoint) == (5, found)


def test_submit_to_an_empty_database_passes_by_uncommitted_epochs(game, spec):
    game.submit_found(Submission(spec(), epoch=4))
    answer = game.ask("island-1")
    assert (answer.lease.epoch, answer.checkpoint) == (5, None)


def test_submit_to_an_old_database_ends_the_lease_that_it_granted(game, spec, ref):
    game.submit()
    lease = game.lease()
    game.commit(lease, 60)
    found = ref(Lease("expert-0", "island-9", 3, 10.0), 40)
    game.submit_found(Submission(spec(), epoch=3, checkpoint=found))
    with pytest.raises(LeaseLost, match="under epoch 3"):
        game.beat(lease)
    assert game.ask("island-2").checkpoint == ref(lease, 60)
    assert game.job().epoch == 4


def test_submit_of_a_job_that_the_store_holds_whole_is_done(game, spec, ref):
    found = ref(Lease("expert-0", "island-9", 1, 10.0), 100)
    game.submit_found(Submission(spec(), epoch=1, checkpoint=found))
    assert game.job().state is JobState.DONE


def test_submit_of_what_the_database_wrote_itself_recovers_nothing(game, spec, ref):
    game.submit()
    lease = game.lease()
    game.commit(lease, 40)
    found = ref(lease, 40)
    assert not game.submit_found(Submission(spec(), epoch=1, checkpoint=found)).events
    game.beat(lease)


def test_submit_after_a_drain_reopens_only_what_is_asked_for(game, spec):
    game.submit(spec("expert-0"), spec("router"))
    lease = game.lease()
    game.apply(operations.drain(game.fleet, "enough"))
    assert game.job("router").state is JobState.PAUSED
    assert game.job("router").reason == "paused while it waited: enough"
    game.release(lease, Ending.DRAINED)
    assert game.job("expert-0").state is JobState.PAUSED
    game.apply(operations.restarted(game.fleet, (), game.now))
    game.submit(spec("expert-0"))
    assert game.lease().job == "expert-0"
    assert isinstance(game.ask("island-2"), Wait)
    assert game.job("router").state is JobState.PAUSED
    game.submit(spec("router"))
    assert game.lease("island-2").job == "router"


def test_fleet_whose_open_jobs_are_all_paused_is_settled(game, spec):
    game.submit(spec("expert-0"), spec("router"))
    game.apply(operations.drain(game.fleet, "enough"))
    game.submit(spec("expert-0"))
    assert not game.fleet.is_settled
    lease = game.lease()
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)
    assert game.fleet.is_settled


def test_submit_ends_a_drain(game):
    game.submit()
    game.apply(operations.drain(game.fleet, "enough"))
    assert game.fleet.is_settled
    game.submit()
    assert not game.fleet.draining


def test_tick_takes_the_lease_of_a_silent_island_only(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    game.lease("island-1")
    spoken = game.lease("island-2")
    game.tick(6)
    game.beat(spoken)
    game.tick(5)
    assert game.job("expert-0").state is JobState.WAITING
    assert game.fleet.islands["island-1"].state == "lost"
    assert game.job("expert-1").state is JobState.LEASED


def test_tick_after_the_orchestrator_was_away_grants_a_full_term(game):
    game.submit()
    lease = game.lease()
    game.tick_once(1000)  # nobody could have been heard
    game.tick(9)
    game.beat(lease)
    assert "was away for 1000.0 s" in game.events[-1].reason


def test_tick_of_an_orchestrator_that_is_always_away_still_takes_a_silent_lease(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    game.lease("island-1")
    spoken = game.lease("island-2")
    for _ in range(6):
        game.tick_once(6)  # more than half a term
        game.beat(spoken)
    assert game.fleet.islands["island-1"].state == "lost"
    assert game.job("expert-1").state is JobState.LEASED


def test_restarted_grants_every_lease_a_full_term_and_forgets_the_drain(game):
    game.submit()
    lease = game.lease()
    game.apply(operations.drain(game.fleet, "enough"))
    game.now += 1000
    game.apply(operations.restarted(game.fleet, (), game.now))
    assert not game.fleet.draining
    game.tick(9)
    game.beat(lease)


def test_island_gone_requeues_at_once_without_a_failure(game):
    game.submit()
    lease = game.lease("island-1")
    game.commit(lease, 30)
    game.apply(operations.island_gone(game.fleet, "island-1", "killed by signal 9", game.now))
    assert (game.job().state, game.job().failures) == (JobState.WAITING, 0)
    assert game.job().progress.step == 30
    assert game.job().reason == "island-1 is gone: killed by signal 9"
    assert game.lease("island-2").epoch == 2


def test_island_gone_of_a_stranger_or_twice_changes_nothing(game):
    game.submit()
    game.lease("island-1")
    game.apply(operations.island_gone(game.fleet, "island-1", "", game.now))
    for name in ("island-1", "island-7"):
        assert not operations.island_gone(game.fleet, name, "", game.now).events


def test_island_gone_after_all_steps_were_committed_is_done(game):
    game.submit()
    game.commit(game.lease("island-1"), 100)
    game.apply(operations.island_gone(game.fleet, "island-1", "", game.now))
    assert game.job().state is JobState.DONE


def test_give_up_fails_all_that_is_not_over(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    lease = game.lease()
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)
    game.apply(operations.give_up(game.fleet, "no island stays alive"))
    assert [job.state for job in game.fleet.jobs.values()] == [JobState.DONE, JobState.FAILED]
    assert game.fleet.is_over


def test_view_tells_all_an_operator_sees(game):
    game.submit()
    game.beat(game.lease("island-1"), step=3)
    game.now += 2
    view = game.fleet.view(game.now)
    assert (view.jobs[0].progress.step, view.jobs[0].island) == (3, "island-1")
    assert (view.islands[0].state, view.islands[0].silent_s) == ("working", 2)


def test_drain_pauses_each_waiting_job_and_its_end_is_told(game, spec):
    game.submit(spec(), spec("expert-1"))
    game.lease()
    told = game.apply(operations.drain(game.fleet, "enough")).events
    assert [(event.kind, event.job) for event in told] == [
        ("draining", ""),
        ("job-paused", "expert-1"),
    ]
    assert [event.kind for event in game.submit(spec("expert-1")).events] == [
        "drain-ended",
        "job-reopened",
    ]


def test_drain_outlives_the_orchestrator_that_was_told(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    lease = game.lease()
    game.apply(operations.drain(game.fleet, "enough"))
    assert game.job("expert-1").state is JobState.PAUSED
    game.apply(operations.restarted(game.fleet, (), game.now))
    assert not game.fleet.draining
    assert game.beat(lease) is Directive.DRAIN
    game.release(lease, Ending.DRAINED)
    assert (game.job().state, game.job().wish) == (JobState.PAUSED, None)


def test_reasons_are_one_line_that_moves_no_cursor(game):
    game.submit()
    game.release(game.lease(), Ending.FAILED, "broke\n\x1b[2Jand \x00 more")
    gone = "\N{REPLACEMENT CHARACTER}"
    assert game.job().reason.endswith(f"broke{gone}{gone}[2Jand {gone} more")


def test_island_called_like_a_job_is_refused(game):
    game.submit()
    with pytest.raises(Refused, match="expert-0 is the name of a job"):
        game.ask("expert-0")


def test_island_silent_without_a_job_is_lost_and_forgotten_later(game):
    game.ask("island-1")
    game.apply(operations.silent(game.fleet, (), game.now + 10))
    assert game.fleet.islands["island-1"].state == "idle"
    lost = game.apply(operations.silent(game.fleet, (), game.now + 11))
    assert [(event.kind, event.island) for event in lost.events] == [("island-lost", "island-1")]
    assert not operations.silent(game.fleet, (), game.now + 600).events
    gone = game.apply(operations.silent(game.fleet, (), game.now + 601))
    assert gone.events[0].reason == "island-1 was not heard of for 10 min"
    assert game.fleet.islands["island-1"].state == "gone"
    assert not operations.silent(game.fleet, (), game.now + 9999).events


def test_island_lost_without_a_job_is_welcome_again(game):
    game.ask("island-1")
    game.now += 11
    game.apply(operations.silent(game.fleet, (), game.now))
    game.submit()
    assert game.lease("island-1").epoch == 1


def test_silence_while_the_orchestrator_was_away_proves_nothing_of_the_idle(game):
    game.ask("island-1")
    game.tick_once(100)
    assert not operations.silent(game.fleet, (), game.now).events


def test_restarted_knows_who_was_told_to_leave(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    lease = game.lease("island-1")
    game.fleet = Fleet(game.fleet.policy, game.fleet.jobs)
    game.apply(operations.restarted(game.fleet, (("island-1", ""), ("island-2", "")), game.now))
    assert game.beat(lease) is Directive.DRAIN
    assert game.fleet.islands["island-1"].state == "working"
    answer = game.ask("island-2")
    assert isinstance(answer, Wait)
    assert answer.dismissed


def test_restarted_lets_a_job_that_was_set_back_pause_once_more(game, spec):
    game.submit(spec("expert-0"), spec("expert-1"))
    for _ in range(2):
        game.release(game.lease(), Ending.FAILED)
        game.now += 100
    game.apply(operations.restarted(game.fleet, (), game.now))
    assert game.job("expert-0").ready_at == game.now + 2.0
    assert game.job("expert-1").ready_at <= game.now


def test_island_lost_whose_node_still_lives_stays_lost(game):
    game.ask("island-1")
    game.apply(operations.silent(game.fleet, (), game.now + 11))
    assert not operations.silent(game.fleet, {"island-1"}, game.now + 9999).events
    assert operations.silent(game.fleet, (), game.now + 9999).events


def test_island_whose_lease_is_taken_by_a_submission_is_idle_until_it_speaks(game, spec):
    game.submit(spec())
    game.lease("island-1")
    game.submit(spec(digest="other"))
    assert (game.fleet.islands["island-1"].state, game.fleet.islands["island-1"].job) == (
        "idle",
        "",
    )
    game.apply(operations.silent(game.fleet, (), game.now + 11))
    assert game.fleet.islands["island-1"].state == "lost"


def test_drain_leaves_alone_what_somebody_else_wants(game):
    game.submit()
    lease = game.lease()
    game.apply(steering.steer(game.fleet, Action.CANCEL, ["expert-0"], "wrong data", game.now))
    game.apply(operations.drain(game.fleet, "enough"))
    game.release(lease, Ending.DRAINED, "its trainer was killed")
    assert game.job().state is JobState.CANCELLED
    assert game.job().reason == "cancelled on island-1: wrong data; its trainer was killed"


def test_job_done_in_the_meantime_does_not_say_that_it_is_paused(game):
    game.submit()
    lease = game.lease()
    game.apply(steering.steer(game.fleet, Action.PAUSE, ["expert-0"], "too hot", game.now))
    game.commit(lease, 100)
    game.release(lease, Ending.DRAINED)
    assert (game.job().state, game.job().reason) == (JobState.DONE, "drained at step 100")


def test_submission_that_doubts_a_job_whose_island_has_yet_to_release_it_frees_the_island(game):
    game.submit()
    lease = game.lease()
    game.commit(lease, 100)
    found = game.job().checkpoint
    game.submit_found(Submission(game.job().spec, lease.epoch, found, damaged=True))
    assert game.job().doubted == found
    assert game.fleet.islands["island-1"].state == "idle"
