"""Two machines with an orchestrator each: one is lost with all that runs on it.

Two working directories stand for the machines: they share a bucket and a database, and no file.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster import processes
from orchestrator.endpoint import Endpoint
from tests.ports import free_address

pytestmark = pytest.mark.timeout(600)

TRAINER = [sys.executable, str(Path(__file__).parents[1] / "fake_trainer.py")]


@pytest.fixture
def machine(tmp_path):
    """Starts processes in a folder of their own; all are killed in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        with (home / "log").open("ab") as log:
            started.append(subprocess.Popen(command, cwd=home, stdout=log, stderr=log))
        return started[-1]

    yield start
    found = [psutil.Process(each.pid) for each in started if each.poll() is None]
    processes.kill([*found, *(child for each in found for child in each.children(recursive=True))])
    for each in started:
        each.wait()


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Goes to another machine."""

    def go(name: str) -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    return go


@pytest.fixture
def run(make_run, bucket, postgres, at):
    """A run whose first machine starts one island, beside which another one may join."""
    at("first")
    listen = free_address()
    overrides = [
        f"orchestrator.database={postgres.new_database()}",
        f"orchestrator.listen={listen}",
        "island.count=1",
    ]
    options = "--step-s 0.05 --every 10"
    return make_run(f"{bucket}/some/run", steps=400, options=options, overrides=overrides)


def test_run_goes_on_when_the_machine_that_leads_is_lost(run, machine, until, undisturbed, at):
    first = run.overrides[1].partition("=")[2]
    run.launch()
    until(lambda: Endpoint.read(run.folder()) is not None)
    name = Endpoint.read(run.folder()).run

    second = free_address()
    trainer = shlex.join([*TRAINER, *shlex.split(run.options)])
    command = run.command("orchestrator", "--trainer", trainer)
    machine("second", [*command, "--set", f"orchestrator.listen={second}"])
    until(lambda: "stands by" in Path("../second/log").read_text())

    atoll = [sys.executable, "-m", "atoll"]
    agent = [*atoll, "agent", "--orchestrator", f"{first},{second}", "--run", name]
    agent += ["--island", "far-1", "--work-dir", "work", "--trainer", trainer]
    machine("far", agent)
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    far = next(job for job, view in run.jobs().items() if view.island == "far-1")

    for launcher in run.launched:
        launcher.kill()
    processes.kill(run.processes())
    at("second")
    until(lambda: run.jobs().get(far) is not None)  # the second machine leads
    assert Endpoint.read(run.folder()).run == name

    at("desk")
    status = json.loads(run.atoll("status", "--json"))
    assert {job["job"] for job in status["jobs"]} == {"expert-0", "expert-1"}

    told = run.finish(run.launch())  # from here, where nobody serves
    assert run.launched[-1].returncode == 0, told
    assert run.weights() == undisturbed(run)
    published = [event for event in run.events() if event.kind == "checkpoint-committed"]
    assert {event.epoch for event in published if event.job == far} == {1}  # it never stopped
    steps = [int(event.reason.split()[1]) for event in published if event.job == far]
    assert steps == list(range(10, 401, 10))
    lost = [event.island for event in run.events() if event.kind in {"island-lost", "island-gone"}]
    assert "far-1" not in lost
