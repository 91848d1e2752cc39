"""A run whose islands are nodes of a scripted SkyPilot, and what befalls those."""

from __future__ import annotations

import json
import sys

import pytest

from tests.integration.runs import make_certificates
from tests.skypilot import scripted

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def sky(tmp_path):
    folder = scripted.install(tmp_path / "sky").parent
    yield folder
    scripted.stop(folder)


@pytest.fixture
def run(make_run, sky, tmp_path, own_address):
    make_certificates(tmp_path / "tls", "--host", own_address)
    overrides = [
        'island.provider="skypilot"',
        'skypilot.places=["aws/us-east-1", "gcp"]',
        f"skypilot.command={sky / 'sky'}",
        f"skypilot.python={sys.executable}",
        f"orchestrator.listen={own_address}:0",
        f"orchestrator.tls={tmp_path / 'tls'}",
    ]
    return make_run("run", steps=400, options="--step-s 0.05 --every 10", overrides=overrides)


def test_run_on_skypilot_goes_on_where_there_is_room_when_a_node_is_preempted(
    run, sky, until, undisturbed
):
    quota = "Found no quota for p5.48xlarge spot instances in region us-east-1 in AWS."
    scripted.let(sky, refuse={"aws/us-east-1 spot": quota})
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    assert {row["place"] for row in scripted.clusters(sky)} == {"gcp spot"}
    lost = run.jobs()["expert-0"].island
    scripted.let(sky, refuse={"aws/us-east-1 spot": quota, "gcp spot": quota})
    scripted.preempt(sky, lost)
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    until(lambda: not scripted.clusters(sky))  # no orphan is left, and none is billed
    reasons = [event.reason for event in run.events() if event.island == lost]
    assert any("preempted, or its cluster was taken down" in reason for reason in reasons)
    tasks = [json.loads(path.read_text()) for path in (sky / "tasks").iterdir()]
    assert len(tasks) == 3
