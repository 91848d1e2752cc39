"""A run whose island has two nodes, and what befalls those."""

from __future__ import annotations

import json
import subprocess

import psutil
import pytest

from cluster import processes
from cluster.processes import ProcessId

pytestmark = pytest.mark.timeout(600)

ISLAND = "island-1"


@pytest.fixture
def run(make_run):
    gang = ["island.count=1", "island.nodes=2", "island.min_nodes=1", "island.lease_s=3"]
    return make_run(
        "run",
        steps=500,
        options="--step-s 0.03 --every 10",
        overrides=[*gang, "partition.num_experts=1"],
    )


def agent_of(run, node: str) -> psutil.Process:
    """The agent of a node, by its name in the gang: node-1-5e2c."""
    home = run.folder() / "islands" / ISLAND / node.rpartition("-")[0]
    record = json.loads((home / "node.json").read_text())
    process = ProcessId(**record["process"]).find()
    assert process is not None
    return process


def worlds_of(run) -> set[str]:
    """Which ranks the trainers were told they have, of how many."""
    logs = (run.folder() / "islands" / ISLAND).glob("node-*/expert-*.log")
    return {line for log in logs for line in log.read_text().splitlines() if "rank" in line}


def test_run_goes_on_without_the_nodes_it_loses_and_takes_them_back(run, until, undisturbed):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    leader, follower = run.nodes()
    run.orchestrator().kill()  # its successor knows of nodes what they tell it
    until(lambda: run.nodes() == (leader, follower) and run.committed("expert-0") >= 40)
    assert run.jobs()["expert-0"].epoch == 1
    agent_of(run, follower).kill()
    until(lambda: len(nodes := run.nodes()) == 2 and follower not in nodes)
    at_last = run.committed("expert-0")
    until(lambda: run.committed("expert-0") > at_last)  # with the new one
    assert run.nodes()[0] == leader
    assert run.listening() == {"127.0.0.1"}
    agent_of(run, leader).kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert worlds_of(run) >= {"rank 0 of 2", "rank 1 of 2"}
    happened = [event.kind for event in run.events()]
    assert happened.count("island-started") == 1
    assert {"node-lost", "leader-lost"} <= set(happened)
    assert "attempt-failed" not in happened
    run.wait_for_its_end()


def test_run_on_slurm_has_an_agent_on_each_node_of_a_job(make_run, slurm, until, undisturbed):
    gang = ["island.count=1", "island.nodes=2", "island.min_nodes=1", "island.lease_s=3"]
    slurm_ = ['island.provider="slurm"', 'slurm.partition="pair"', "slurm.time_limit_min=5"]
    run = make_run("run", steps=150, overrides=[*gang, *slurm_])
    launcher = run.launch()
    try:
        until(lambda: run.committed("expert-0") >= 10)
        leader, follower = run.nodes()
        assert {leader[:6], follower[:6]} == {"node-0", "node-1"}
        work = run.folder() / "islands" / ISLAND / "work" / "start" / follower[:6]
        processes.kill(processes.working_in(work))
        told = run.finish(launcher)
    finally:
        subprocess.run(["scancel", "--me"], check=True)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    happened = [(event.kind, event.reason) for event in run.events()]
    assert ("node-lost", f"{follower} was lost") in happened
    assert [kind for kind, _ in happened].count("island-started") == 1
