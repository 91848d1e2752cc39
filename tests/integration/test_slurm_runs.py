"""A run whose islands are jobs of a real Slurm, and what befalls those."""

from __future__ import annotations

import json
import subprocess

import psutil
import pytest

from cluster import processes

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


def trainers(run) -> list[psutil.Process]:
    found = processes.working_in(run.folder())
    return [process for process in found if "experts.trainer" in process.cmdline()]


def youngest_s() -> int:
    """For how long the youngest job has run."""
    times = told_by_slurm("squeue", "--me", "-h", "--states=running", "--format=%M").split()
    return min((int(time[-5:-3] or 0) * 60 + int(time[-2:]) for time in times), default=0)


@pytest.mark.timeout(600)
def test_digits_on_slurm_survive_what_befalls_their_jobs(make_digits, slurm, until):
    local, digits = make_digits("local", steps=800), make_digits("slurm", steps=800)
    local.atoll("partition")
    digits.take_partition(local)
    # Warned 85 s after their start.
    digits.overrides += ['island.provider="slurm"', "slurm.time_limit_min=2", "island.drain_s=5"]
    on_slurm, beside = digits.launch("train"), local.launch("train")
    try:
        until(lambda: digits.committed("expert-0") or digits.committed("expert-1"), seconds=120)
        (cancelled, (number, _)), (requeued, (other, _)) = squeue("running").items()
        tell_slurm("scancel", number)
        tell_slurm("scontrol", "requeue", other)
        until(lambda: f"{requeued}.1" in {event.island for event in digits.events()}, seconds=120)

        until(lambda: len(trainers(digits)) == 2, seconds=120)
        for trainer in trainers(digits):
            trainer.suspend()  # so that some work is left when their time is over
        until(lambda: youngest_s() >= 80, seconds=120)
        for trainer in trainers(digits):
            trainer.resume()
        until(lambda: handed_over(digits) - {cancelled, requeued}, seconds=120)

        nodes = ",".join(told_by_slurm("sinfo", "-hN", "-o%N").split())
        tell_slurm("scontrol", "update", f"NodeName={nodes}", "State=DRAIN", "Reason=test")
        for number, _ in squeue("running").values():
            tell_slurm("scancel", number)
        until(lambda: squeue("pending") and not squeue("running"), seconds=120)
        waiting = set(squeue("pending"))
        until(lambda: all(job.state in {"waiting", "done"} for job in digits.jobs().values()))
        tell_slurm("scontrol", "update", f"NodeName={nodes}", "State=RESUME")
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
    # Who stands in a queue is not silent: none of them was replaced.
    asked = {event.island for event in events if event.kind == "island-started"}
    assert waiting & {event.island for event in events if event.kind == "lease-granted"}
    assert len(asked) <= 8


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
