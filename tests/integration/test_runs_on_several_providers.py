"""One run whose islands are processes here, jobs of Slurm, and processes of a far host."""

from __future__ import annotations

import subprocess

import pytest

from cluster import processes
from orchestrator.endpoint import Endpoint
from tests.integration.runs import make_certificates
from tests.namespaces import network
from tests.sshd import hosts_within

pytestmark = pytest.mark.timeout(480)

EXPERTS = [f"expert-{index}" for index in range(4)]


@pytest.fixture
def net():
    with network("far") as made:
        yield made


@pytest.fixture
def hosts(net, tmp_path):
    with hosts_within(net, tmp_path / "hosts", "far") as made:
        yield made


@pytest.fixture
def run(make_run, slurm, net, hosts, tmp_path):
    make_certificates(tmp_path / "tls", "--host", net.address)
    overrides = [
        *hosts.settings(),
        "island.provider={ local = 1, slurm = 1, ssh = 1 }",
        f"partition.num_experts={len(EXPERTS)}",
        f"orchestrator.listen={net.address}:0",
        f"orchestrator.tls={tmp_path / 'tls'}",
        'ssh.options=["-oConnectTimeout=2"]',
    ]
    yield make_run("run", steps=200, options="--step-s 0.05 --every 10", overrides=overrides)
    subprocess.run(["scancel", "--me"], check=True)


def test_run_on_three_providers_goes_on_when_one_is_gone_for_good(
    run, net, hosts, until, undisturbed
):
    launcher = run.launch()
    until(lambda: sum(run.committed(job) >= 10 for job in EXPERTS) >= 3)
    at_work = {job.island for job in run.jobs().values()} - {""}
    (lost,) = {path.parent.name for path in hosts.folder.rglob("island-*/work")}
    assert lost in at_work
    net.cut("far")
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    orchestrator = Endpoint.read(run.folder())
    until(lambda: not orchestrator.is_alive, seconds=90)
    events = run.events()
    assert [event.island for event in events if event.kind == "island-forsaken"] == [lost]
    successors = {event.island for event in events if event.kind == "island-started"} - at_work
    assert successors
    squeue = ["squeue", "--me", "--noheader", "--states=running,pending"]
    assert not subprocess.run(squeue, check=True, capture_output=True).stdout
    assert not processes.working_in(run.folder())
    assert processes.working_in(hosts.folder)  # it goes by itself after island.orphan_s
