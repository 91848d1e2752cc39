"""A node that its cloud takes back while it trains: nothing of its work is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.endpoint import ENDPOINT_FILE, Endpoint

pytestmark = pytest.mark.timeout(600)

TESTS = Path(__file__).parents[1]


@pytest.fixture
def notice(tmp_path):
    """A node's metadata service, and the file with which notice is given."""
    given = tmp_path / "notice"
    command = [sys.executable, str(TESTS / "metadata_server.py"), "aws", str(given)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip(), given
        server.kill()


@pytest.fixture
def join(run, tmp_path):
    """Starts an island by hand, as on a node elsewhere."""
    started = []

    def start(island: str, *options: str) -> subprocess.Popen[bytes]:
        endpoint = Endpoint.read(run.folder())
        command = [sys.executable, "-m", "atoll", "agent", "--island", island, *options]
        command += ["--orchestrator", endpoint.address, "--run", endpoint.run]
        command += ["--endpoint", str(run.folder() / ENDPOINT_FILE)]
        command += ["--work-dir", str(tmp_path / island / "work")]
        command += ["--trainer", f"{sys.executable} {TESTS / 'fake_trainer.py'} {run.options}"]
        (tmp_path / island / "work").mkdir(parents=True)
        with (tmp_path / island / "agent.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_run_whose_cloud_gives_notice_hands_the_work_over_with_nothing_lost(
    run, notice, join, until, undisturbed
):
    url, given = notice
    run.steps, run.options = 150, "--step-s 0.05 --every 1000"  # none but the one it leaves with
    run.overrides = ["island.count=1"]
    launcher = run.launch()
    until(lambda: run.jobs().get("expert-1"))
    far = join("far-1", "--notices", "aws", "--notices-url", url)

    def held():
        return [job for job in run.jobs().values() if job.island == "far-1"]

    until(lambda: held() and held()[0].progress.step >= 20)
    (name,) = (job.spec.name for job in held())
    given.touch()
    until(lambda: run.committed(name) >= 20)
    assert far.wait(timeout=240) == 0
    job = run.jobs()[name]
    assert (job.preemptions, job.losses, job.failures) == (1, 0, 0)
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    (event,) = (event for event in run.events() if event.kind == "island-preempted")
    assert (event.job, event.island) == (name, "far-1")
    assert event.reason.startswith("AWS takes the node back: terminate at ")
    assert " s from now" in event.reason
    assert not any(event.kind == "attempt-failed" for event in run.events())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--notices", "ibm"], "--notices: 'ibm' is not known; give none, aws, gcp, azure"),
        (["--notices", "gcp", "--notices-url", "x"], "write it as http://host:port"),
    ],
)
def test_agent_asked_to_heed_what_cannot_be_says_so(tmp_path, options, told):
    command = [sys.executable, "-m", "atoll", "agent", "--island", "far-1", *options]
    command += ["--orchestrator", "127.0.0.1:1", "--run", "run", "--work-dir", str(tmp_path)]
    called = subprocess.run(command, capture_output=True, text=True, check=False)
    assert called.returncode == 2
    assert told in called.stderr
