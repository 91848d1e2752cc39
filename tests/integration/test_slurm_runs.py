"""A run whose islands are jobs of a real Slurm, and what befalls those."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import psutil
import pytest

from cluster import processes
from tests.integration.runs import make_certificates, words_of

pytestmark = pytest.mark.timeout(480)


def squeue(state: str = "all") -> dict[str, tuple[str, str]]:
    """Number and state of each job, by its name; of several with one name the newest."""
    asked = ["squeue", "--me", "--noheader", f"--states={state}", "--format=%i %j %T"]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    jobs = sorted((int(line.split()[0]), *line.split()[1:]) for line in told.splitlines())
    return {name: (str(number), state) for number, name, state in jobs}


def tell_slurm(*words: str) -> None:
    told_by_slurm(*words)


def told_by_slurm(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def run(make_run, slurm, tmp_path):
    tls = tmp_path / "tls"
    make_certificates(tls)
    overrides = ['island.provider="slurm"', "slurm.time_limit_min=10", f"orchestrator.tls={tls}"]
    yield make_run("run", steps=400, options="--step-s 0.05 --every 10", overrides=overrides)
    tell_slurm("scancel", "--me")


def island_of(run, job: str) -> str:
    return run.jobs()[job].island


def test_run_on_slurm_survives_what_befalls_its_jobs(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    cancelled, requeued = island_of(run, "expert-0"), island_of(run, "expert-1")
    tell_slurm("scancel", squeue()[cancelled][0])
    tell_slurm("scontrol", "requeue", squeue()[requeued][0])
    until(lambda: island_of(run, "expert-0") not in {"", cancelled, requeued})
    until(lambda: f"{requeued}.1" in {job.island for job in run.jobs().values()})
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    until(lambda: not squeue("running,pending"))  # no orphan is left
    told = {event.kind: event.reason for event in run.events() if event.island == cancelled}
    assert "island-preempted" in told  # it had the time to hand its work over
    assert "it was cancelled" in told["island-stopped"]
    # Nor what its job left, with the token among it.
    until(lambda: not (run.folder() / "islands" / cancelled / "work").exists())


def test_run_whose_node_is_drained_in_slurm_waits_in_the_queue_and_goes_on(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    nodes = ",".join(told_by_slurm("sinfo", "-hN", "-o%N").split())
    tell_slurm("scontrol", "update", f"NodeName={nodes}", "State=DRAIN", "Reason=test")
    for number, _ in squeue("running").values():
        tell_slurm("scancel", number)
    until(lambda: len(squeue("pending")) == 2)
    waiting = set(squeue("pending"))
    # Longer than an island may take to say its first word: who stands in a queue is not silent.
    until(lambda: all(job.state == "waiting" for job in run.jobs().values()))
    tell_slurm("scontrol", "update", f"NodeName={nodes}", "State=RESUME")
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    worked = {event.island for event in run.events() if event.kind == "lease-granted"}
    assert waiting <= worked


def test_run_whose_jobs_come_to_their_time_limit_hands_the_work_over(run, undisturbed):
    run.steps, run.options = 700, "--step-s 0.1 --every 100"
    run.overrides += ["slurm.time_limit_min=1", "island.drain_s=2"]
    launcher = run.launch()
    told = run.finish(launcher, timeout_s=400)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    preempted = [event for event in run.events() if event.kind == "island-preempted"]
    assert len(preempted) >= 2
    # Nothing was lost: each try begins at the step at which the one before was told to leave.
    steps = [event.reason for event in run.events() if event.kind == "checkpoint-committed"]
    assert any(int(reason.split()[1]) % 100 for reason in steps)


def trainers(run) -> dict[psutil.Process, Path]:
    """The real ones that live, each with the log of its agent."""
    found = processes.working_in(run.folder())
    living = [process for process in found if "experts.trainer" in words_of(process)]
    works = [Path(each.cmdline()[each.cmdline().index("--work-dir") + 1]) for each in living]
    islands = run.folder() / "islands"
    logs = [islands / work.relative_to(islands).parts[0] / "agent.log" for work in works]
    return dict(zip(living, logs, strict=True))


def hold_until_warned(run) -> None:
    """Freezes trainers, so that work is left when their time is over, and lets the warned go on."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for trainer, log in trainers(run).items():
            if '"draining"' in log.read_text():
                trainer.resume()
            else:
                trainer.suspend()


def handed_over(run) -> set[str]:
    """The islands that were told to leave, and did so in time."""
    return {
        event.island
        for event in run.events()
        if event.kind == "island-preempted" and "no checkpoint within" not in event.reason
    }


@pytest.mark.timeout(900)
def test_digits_on_slurm_survive_what_befalls_their_jobs(make_digits, slurm, until):
    local, digits = make_digits("local", steps=400), make_digits("slurm", steps=400)
    local.atoll("partition")
    digits.take_partition(local)
    # Slurm warns 50 s before the time limit, or up to a minute earlier.
    limits = ["slurm.time_limit_min=2", "island.drain_s=20"]
    for run in (local, digits):
        run.overrides += ["training.checkpoint_every_steps=20"]
    digits.overrides += ['island.provider="slurm"', *limits]
    on_slurm, beside = digits.launch("train"), local.launch("train")
    try:
        until(lambda: digits.committed("expert-0") or digits.committed("expert-1"), seconds=120)
        (cancelled, (number, _)), (requeued, (other, _)) = squeue("running").items()
        tell_slurm("scancel", number)
        tell_slurm("scontrol", "requeue", other)
        until(lambda: f"{requeued}.1" in {event.island for event in digits.events()}, seconds=120)

        def is_one_handed_over() -> bool:
            hold_until_warned(digits)
            return bool(handed_over(digits) - {cancelled, requeued})

        until(
            is_one_handed_over, seconds=300, pause_s=1
        )  # its time was over: nobody else told it to leave

        nodes = ",".join(told_by_slurm("sinfo", "-hN", "-o%N").split())
        tell_slurm("scontrol", "update", f"NodeName={nodes}", "State=DRAIN", "Reason=test")
        for trainer in trainers(digits):
            trainer.resume()
        for number, _ in squeue("running").values():
            tell_slurm("scancel", number)
        until(lambda: squeue("pending") and not squeue("running"), seconds=120)
        until(lambda: all(job.state in {"waiting", "done"} for job in digits.jobs().values()))
        tell_slurm("scontrol", "update", f"NodeName={nodes}", "State=RESUME")
        for run, command in ((digits, on_slurm), (local, beside)):
            told = run.finish(command, timeout_s=400)
            assert command.returncode == 0, told
        until(lambda: not squeue("running,pending"))  # no orphan is left
    finally:
        tell_slurm("scancel", "--me")
    assert digits.weights() == local.weights()


def test_orchestrator_started_again_finds_its_jobs_in_slurm(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    before = set(squeue())
    run.orchestrator().kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert set(squeue()) == before  # nobody was started in their place
    status = json.loads(run.atoll("status", "--json"))
    assert [job["leases"] for job in status["jobs"]] == [1, 1]


def test_job_that_slurm_takes_from_nobody_is_refused_before_anything_starts(run):
    run.overrides += ["slurm.partition=nowhere"]
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 2
    assert "Slurm takes no such job" in told
    assert "invalid partition" in told.lower()
    assert squeue("running,pending") == {}
