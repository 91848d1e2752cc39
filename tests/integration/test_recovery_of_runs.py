"""What a run survives: every process of it is killed or frozen once, and it ends all the same."""

from __future__ import annotations

import shutil
import signal
import socket

import pytest

pytestmark = pytest.mark.timeout(90)


def steps_of(run, job):
    """Committed steps of a job, in the order in which they were committed."""
    return [
        (event.epoch, int(event.reason.split()[1]))
        for event in run.events()
        if event.kind == "checkpoint-committed" and event.job == job
    ]


def test_run_undisturbed_ends_with_the_weights_and_leaves_no_process(run, until, undisturbed):
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}
    assert steps_of(run, "expert-0") == [(1, step) for step in range(10, 61, 10)]
    until(lambda: not run.processes())
    again = run.launch()
    assert "already trained: expert-0, expert-1" in run.finish(again)
    assert not run.processes()


def test_run_whose_trainer_is_killed_goes_on_from_its_checkpoint(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    run.trainer_of("expert-0").kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    failed = next(event for event in run.events() if event.kind == "attempt-failed")
    assert "killed by signal 9 (SIGKILL)" in failed.reason
    restart = steps_of(run, "expert-0")
    assert restart == sorted(restart)
    assert restart[-1] == (2, 60)


def test_run_whose_agent_is_killed_replaces_it_at_once(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    agent, trainer = run.agent_of("expert-0"), run.trainer_of("expert-0")
    agent.kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    gone = next(event for event in run.events() if event.kind == "island-gone")
    assert "killed by signal 9 (SIGKILL)" in gone.reason
    until(lambda: not trainer.is_running())  # PID 1 may take a moment to collect it
    assert run.results()["expert-0"].epoch == 2


def test_run_whose_agent_freezes_is_fenced(run, until, undisturbed):
    run.steps, run.overrides = 120, ["island.count=1", "island.lease_s=2"]
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    island = run.jobs()["expert-0"].island
    frozen = run.agent(island)
    frozen.send_signal(signal.SIGSTOP)
    until(lambda: run.jobs()["expert-0"].epoch == 2 and run.committed("expert-0") >= 50)
    before = run.jobs()["expert-0"].checkpoint
    assert before.epoch == 2
    frozen.send_signal(signal.SIGCONT)
    until(lambda: not frozen.is_running())
    log = run.agent_log(island)
    assert f"the lease of {island} on expert-0 (epoch 1) has passed to island-2" in log
    assert "stopping, nothing of that epoch is published any more" in log
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    committed = steps_of(run, "expert-0")
    assert [epoch for epoch, _ in committed] == sorted(epoch for epoch, _ in committed)
    gone = next(event for event in run.events() if event.reason.startswith(f"{island} is gone"))
    assert gone.reason == f"{island} is gone: exited with code 4"


def test_run_whose_orchestrator_is_killed_loses_no_island(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    first = run.orchestrator()
    first.kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert "starting it again" in told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}
    assert run.orchestrator().pid != first.pid


def test_run_whose_command_is_killed_goes_on_and_is_attached_to_again(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    orchestrator = run.orchestrator()
    launcher.kill()
    again = run.launch()
    told = run.finish(again)
    assert again.returncode == 0, told
    assert run.orchestrator() == orchestrator
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}


def test_run_after_command_and_orchestrator_were_killed_finds_its_islands(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    launcher.kill()
    run.orchestrator().kill()
    again = run.launch()
    told = run.finish(again)
    assert again.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}


def test_run_whose_agent_is_told_to_leave_checkpoints_first(run, until, undisturbed):
    run.options = "--step-s 0.02 --every 1000"  # none but the one it leaves with
    launcher = run.launch()
    until(lambda: (job := run.jobs().get("expert-0")) and job.progress.step >= 10)
    run.agent_of("expert-0").terminate()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    (left,) = (event for event in run.events() if event.kind == "island-preempted")
    assert left.job == "expert-0"
    assert left.reason.startswith("told to leave at step ")
    assert not any(event.kind == "attempt-failed" for event in run.events())


def test_run_copied_while_it_works_is_a_run_of_its_own(make_run, until, undisturbed):
    run, copy = (make_run(name, steps=150, options="--step-s 0.05") for name in ("run", "copy"))
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    writer = run.orchestrator()
    writer.suspend()  # as a snapshot of the disk would find the database
    unfinished = shutil.ignore_patterns(".tmp-*", "work")
    shutil.copytree(run.uri, copy.uri, dirs_exist_ok=True, ignore=unfinished)
    writer.resume()
    assert copy.jobs() == {}  # the original's orchestrator is not its own
    other = copy.launch()
    for each, ended in ((run, launcher), (copy, other)):
        told = each.finish(ended)
        assert ended.returncode == 0, told
        assert each.weights() == undisturbed(each)


def test_island_that_finds_another_runs_orchestrator_has_no_part_in_it(make_run, until):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"orchestrator.listen=127.0.0.1:{free.getsockname()[1]}"
    run = make_run("run", steps=3000, overrides=[listen, "island.count=1"])
    abandoned = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    abandoned.kill()
    run.orchestrator().kill()
    other = make_run("other", overrides=[listen])
    launcher = other.launch()
    told = other.finish(launcher)
    assert launcher.returncode == 0, told
    assert {ref.step for ref in other.results().values()} == {60}
    assert not [event for event in other.events() if event.kind == "attempt-failed"]
    assert other.weights().keys() == {"expert-0", "expert-1"}


def test_run_whose_trainer_hangs_starts_it_anew(run, until, undisturbed):
    run.steps, run.overrides = 120, ["island.stuck_s=2"]
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    hung = run.trainer_of("expert-0")
    hung.suspend()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert run.results()["expert-0"].epoch == 2
    stuck = next(event for event in run.events() if event.kind == "trainer-stuck")
    assert stuck.job == "expert-0"
    failed = next(event for event in run.events() if event.kind == "attempt-failed")
    assert "stood still at step" in failed.reason
    assert not hung.is_running()


def test_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before(run, undisturbed):
    first = run.launch()
    assert first.wait(timeout=60) == 0, run.finish(first)
    path = run.uri / run.results()["expert-0"].key / "weights"
    path.write_text(path.read_text().upper())
    run.steps = 120
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    lost = next(event for event in run.events() if event.kind == "checkpoint-damaged")
    assert "step 60 is lost, the job goes on from step 50 of epoch 1" in lost.reason
    assert steps_of(run, "expert-0")[6] == (3, 60)


def test_run_keeps_no_more_checkpoints_than_it_is_asked_to(run, until, undisturbed):
    run.overrides = ["checkpoints.keep_last=2", "checkpoints.keep_best=0"]
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    until(lambda: not run.processes())
    for job in ("expert-0", "expert-1"):
        kept = sorted(path.name for path in run.uri.glob(f"checkpoints/{job}/*/*"))
        assert kept == ["step-00000050", "step-00000060"]
