"""Two orchestrators of one run at one database: it goes on whatever befalls the leader."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from cluster import processes
from orchestrator.endpoint import Endpoint
from tests.ports import free_address

pytestmark = pytest.mark.timeout(600)

TRAINER = [sys.executable, str(Path(__file__).parents[1] / "fake_trainer.py")]


def orchestrators(run):
    """All that serve the run, or stand by to."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "orchestrator" in words and any(str(run.uri) in word for word in words):
                found.append(process)
    return found


@pytest.fixture
def run(make_run, postgres):
    database = f"orchestrator.database={postgres.new_database()}"
    made = make_run("run", steps=300, options="--step-s 0.05 --every 10", overrides=[database])
    yield made
    with contextlib.suppress(psutil.NoSuchProcess):
        processes.kill(orchestrators(made))


@pytest.fixture
def stand_by(run, until):
    """Starts another orchestrator of the run; returns once it stands by."""
    started = []

    def start() -> subprocess.Popen[bytes]:
        log = run.folder() / "standby.log"
        trainer = shlex.join([*TRAINER, *shlex.split(run.options)])
        with log.open("wb") as output:
            command = run.command("orchestrator", "--trainer", trainer)
            started.append(subprocess.Popen(command, stdout=output, stderr=output))
        until(lambda: "stands by" in log.read_text())
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def wire(postgres):
    """A process that all of the leader's words to the database go through, and its address."""
    command = [sys.executable, str(Path(__file__).parents[1] / "wire.py"), str(postgres.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process, f"127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def committed(run):
    """Epoch and step of each commit, by job, in the order in which they were made."""
    made = [event for event in run.events() if event.kind == "checkpoint-committed"]
    assert {event.job for event in made} == {"expert-0", "expert-1"}
    return [
        [(event.epoch, int(event.reason.split()[1])) for event in made if event.job == job]
        for job in ("expert-0", "expert-1")
    ]


def test_run_whose_leader_is_killed_is_led_on_without_a_restart_of_any_island(
    run, stand_by, until, undisturbed, password
):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    leader, successor = run.orchestrator(), stand_by()
    leader.kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert committed(run) == [[(1, step) for step in range(10, 301, 10)]] * 2
    until(lambda: not orchestrators(run))  # each in turn leads, and finds nothing left to do
    assert successor.wait(timeout=240) == 0
    leads = [event.reason for event in run.events() if event.kind == "orchestrator-leads"]
    first, second = (each.partition(" leads")[0] for each in leads[:2])
    assert first.startswith(f"process {leader.pid} on")
    assert second != first  # the one that stood by, or the one that the command started
    assert leads[1].endswith(first)
    started = [event.island for event in run.events() if event.kind == "island-started"]
    assert started == ["island-1", "island-2"]  # whose hours the successor goes on to count
    for path in run.uri.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes()


def test_run_whose_leader_freezes_is_led_on_and_the_frozen_one_stands_by(
    run, stand_by, until, undisturbed
):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    frozen, successor = run.orchestrator(), stand_by()
    frozen.send_signal(signal.SIGSTOP)
    until(lambda: run.orchestrator().pid == successor.pid)
    before = run.committed("expert-0")
    until(lambda: run.committed("expert-0") > before)
    frozen.send_signal(signal.SIGCONT)
    log = run.folder() / "orchestrator.log"
    until(lambda: "stands by again" in log.read_text())
    assert run.orchestrator().pid == successor.pid
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert committed(run) == [[(1, step) for step in range(10, 301, 10)]] * 2
    numbers = [event.number for event in run.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    until(lambda: not orchestrators(run))
    assert successor.wait(timeout=240) == 0


def test_run_with_fixed_ports_is_led_on_there_when_its_leader_freezes(
    run, stand_by, until, undisturbed
):
    listen, web = free_address(), free_address()
    run.overrides += [f"orchestrator.listen={listen}", f"orchestrator.web={web}"]
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    frozen, successor = run.orchestrator(), stand_by()
    frozen.send_signal(signal.SIGSTOP)
    until(lambda: Endpoint.read(run.folder()).process.pid == successor.pid)
    assert Endpoint.read(run.folder()).address == listen
    until(lambda: not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE)
    log = run.folder() / "standby.log"
    until(lambda: '"dashboard"' in log.read_text())
    with urllib.request.urlopen(f"http://{web}/fleet.json") as page:
        assert {job["name"] for job in json.load(page)["jobs"]} == {"expert-0", "expert-1"}
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert committed(run) == [[(1, step) for step in range(10, 301, 10)]] * 2
    assert "ends the former leader" in log.read_text()


def test_run_whose_leader_is_cut_off_from_the_database_is_led_on(
    run, stand_by, wire, until, undisturbed
):
    process, address = wire
    direct = run.overrides[0]
    run.overrides[0] = re.sub(r"127\.0\.0\.1:\d+", address, direct)
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    run.overrides[0] = direct
    successor = stand_by()
    process.send_signal(signal.SIGSTOP)
    until(lambda: run.orchestrator().pid == successor.pid)
    process.send_signal(signal.SIGCONT)
    until(lambda: "stands by again" in (run.folder() / "orchestrator.log").read_text())
    assert run.orchestrator().pid == successor.pid
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert committed(run) == [[(1, step) for step in range(10, 301, 10)]] * 2


def test_run_whose_database_is_killed_goes_on_when_it_is_back(run, postgres, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    postgres.kill()
    log = run.folder() / "orchestrator.log"
    until(lambda: "cannot renew the lead" in log.read_text())
    postgres.start()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert committed(run) == [[(1, step) for step in range(10, 301, 10)]] * 2
