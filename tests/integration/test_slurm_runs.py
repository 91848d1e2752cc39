"""A run whose islands are jobs of a real Slurm, and what befalls those."""

from __future__ import annotations

import json
import subprocess

import pytest

pytestmark = pytest.mark.timeout(240)


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
def run(make_run, slurm):
    overrides = ['island.provider="slurm"', "slurm.time_limit_min=10"]
    yield make_run("run", steps=400, options="--step-s 0.05 --every 10", overrides=overrides)
    tell_slurm("scancel", "--me")


def handed_over(run) -> set[str]:
    """The islands that were told to leave, and did so in time."""
    return {event.island for event in run.events() if event.kind == "island-preempted"}


@pytest.mark.timeout(600)
def test_digits_on_slurm_survive_what_befalls_their_jobs(make_digits, slurm, until):
    local, digits = make_digits("local", steps=1500), make_digits("slurm", steps=1500)
    local.atoll("partition")
    digits.take_partition(local)
    # Warned 45 s before their minute is over, so that each job has some seconds for training.
    digits.overrides += ['island.provider="slurm"', "slurm.time_limit_min=1", "island.drain_s=15"]
    on_slurm, beside = digits.launch("train"), local.launch("train")
    try:
        until(lambda: digits.committed("expert-0") or digits.committed("expert-1"), seconds=120)
        (cancelled, (number, _)), (requeued, (other, _)) = squeue("running").items()
        tell_slurm("scancel", number)
        tell_slurm("scontrol", "requeue", other)
        until(lambda: f"{requeued}.1" in {event.island for event in digits.events()}, seconds=120)
        until(lambda: handed_over(digits) - {cancelled, requeued})  # their time is over

        (node,) = set(told_by_slurm("sinfo", "-hN", "-pmain", "-o%N").split())
        tell_slurm("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        for number, _ in squeue("running").values():
            tell_slurm("scancel", number)
        until(lambda: len(squeue("pending")) == 2, seconds=120)
        waiting = set(squeue("pending"))
        until(lambda: all(job.state == "waiting" for job in digits.jobs().values()), seconds=120)
        tell_slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
        for run, command in ((digits, on_slurm), (local, beside)):
            told = run.finish(command, timeout_s=200)
            assert command.returncode == 0, told
        until(lambda: not squeue("running,pending"))  # no orphan is left
    finally:
        tell_slurm("scancel", "--me")
    assert digits.weights() == local.weights()
    events = digits.events()
    stopped = {event.island: event.reason for event in events if event.kind == "island-stopped"}
    assert "it was cancelled" in stopped[cancelled]
    # Who stands in a queue is not silent: it was not replaced.
    assert waiting <= {event.island for event in events if event.kind == "lease-granted"}


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
