"""A run whose island has two nodes, and what befalls those."""

from __future__ import annotations

import json

import psutil
import pytest

from cluster.processes import ProcessId

pytestmark = pytest.mark.timeout(120)

ISLAND = "island-1"


@pytest.fixture
def run(make_run):
    gang = ["island.count=1", "island.nodes=2", "island.min_nodes=1", "island.lease_s=3"]
    return make_run("run", steps=150, options="--step-s 0.03 --every 10", overrides=gang)


def nodes_of(run) -> tuple[str, ...]:
    """Those that train together, the leader first, as `atoll status` tells."""
    told = json.loads(run.atoll("status", "--json"))
    return next((tuple(row["nodes"]) for row in told["islands"] if row["nodes"]), ())


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
    leader, follower = nodes_of(run)
    agent_of(run, follower).kill()
    until(lambda: len(nodes := nodes_of(run)) == 2 and follower not in nodes)
    assert nodes_of(run)[0] == leader
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
    until(lambda: not run.processes())
