"""What befalls a run besides the faults of ``tests/faults``: ended commands, copies, strangers."""

from __future__ import annotations

import shutil

import pytest

from tests.ports import free_address

pytestmark = pytest.mark.timeout(600)


def steps_of(run, job):
    """Committed steps of a job, in the order in which they were committed."""
    return [
        (event.epoch, int(event.reason.split()[1]))
        for event in run.events()
        if event.kind == "checkpoint-committed" and event.job == job
    ]


def test_run_undisturbed_ends_with_the_weights_and_leaves_no_process(run, undisturbed):
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}
    assert steps_of(run, "expert-0") == [(1, step) for step in range(10, 61, 10)]
    run.wait_for_its_end()
    again = run.launch()
    assert "already trained: expert-0, expert-1" in run.finish(again)
    assert not run.processes()


def test_run_whose_command_is_killed_goes_on_and_is_attached_to_again(run, until, undisturbed):
    run.steps = 600  # it shall not be done before somebody attaches to it
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
    listen = f"orchestrator.listen={free_address()}"
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


def test_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before(run, undisturbed):
    first = run.launch()
    assert first.wait(timeout=240) == 0, run.finish(first)
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


def test_run_keeps_no_more_checkpoints_than_it_is_asked_to(run, undisturbed):
    run.overrides = ["checkpoints.keep_last=2", "checkpoints.keep_best=0"]
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    run.wait_for_its_end()
    for job in ("expert-0", "expert-1"):
        kept = sorted(path.name for path in run.uri.glob(f"checkpoints/{job}/*/*"))
        assert kept == ["step-00000050", "step-00000060"]
