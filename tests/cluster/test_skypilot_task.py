"""What SkyPilot is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from cluster.provider import NodeSpec
from cluster.skypilot.task import cluster_name, task_of

SPEC = NodeSpec("island-1", "runs/digits", ("--run", "r", "--orchestrator", "a:1"), 8, "a secret")


def test_task_asks_for_spot_everywhere_before_on_demand_anywhere():
    keys = ['skypilot.any_of=["H100:8", "A100-80GB:8"]', 'skypilot.places=["aws/us-east-1", "gcp"]']
    choices = task_of(read_config(None, keys), SPEC, "key", None)["resources"]["ordered"]
    assert [(each["use_spot"], each["infra"], each["accelerators"]) for each in choices] == [
        (spot, place, accelerators)
        for spot in (True, False)
        for place in ("aws/us-east-1", "gcp")
        for accelerators in ("H100:8", "A100-80GB:8")
    ]


def test_task_without_choice_asks_for_processors_alone():
    config = read_config(None, ["skypilot.spot=false", "island.processes=2", "island.threads=3"])
    resources = task_of(config, SPEC, "key", None)["resources"]
    assert resources["cpus"] == "6+"
    assert resources["use_spot"] is False
    assert "ordered" not in resources
    assert resources["autostop"] == {"idle_minutes": 10, "down": True}


def test_task_tells_no_secret():
    task = task_of(read_config(None, []), SPEC, "key", Path("/here/join.pem"))
    assert "a secret" not in str(task)
    assert task["file_mounts"] == {"~/.atoll/join.pem": "/here/join.pem"}


def test_task_with_a_wheel_makes_the_node_an_island_by_the_script_for_bare_nodes():
    config = read_config(None, ["skypilot.wheel=dist/atoll-1.whl"])
    task = task_of(config, SPEC, "key", None)
    assert task["file_mounts"]["~/.atoll/atoll-1.whl"] == str(Path("dist/atoll-1.whl").absolute())
    assert Path(task["file_mounts"]["~/.atoll/node.sh"]).read_text().startswith("#!/bin/sh")
    assert "sh ~/.atoll/node.sh --wheel ~/.atoll/atoll-1.whl -- --run r" in task["run"]
    # It is installed before: a node that runs and says nothing is soon given up.
    assert "sh ~/.atoll/node.sh --wheel ~/.atoll/atoll-1.whl -- --help" in task["setup"]


def test_island_of_several_nodes_is_one_task_whose_nodes_are_told_apart():
    config = read_config(None, ["skypilot.wheel=dist/atoll-1.whl"])
    one, two = (task_of(config, replace(SPEC, num_nodes=num), "key", None) for num in (1, 2))
    assert (one.get("num_nodes"), two["num_nodes"]) == (None, 2)
    assert '--island island-1 --node "node-$SKYPILOT_NODE_RANK" --work-dir' in two["run"]
    assert "--node" not in one["run"]
    # One that failed would end the others, and two that share their home would install at once.
    assert (one["run"].splitlines()[-1], two["run"].splitlines()[-1]) == (
        "exit $((code != 0))",
        "exit 0",
    )
    assert "flock ~/.atoll/installing sh ~/.atoll/node.sh" in two["setup"]
    assert "flock" not in one["setup"]


def test_clusters_of_two_runs_are_called_differently():
    names = {cluster_name(label, "island-1") for label in ("runs/a", "runs/b")}
    assert len(names) == 2
    assert all(name.endswith("-island-1") for name in names)


def test_accelerators_without_a_number_are_refused():
    with pytest.raises(ConfigError, match=r"skypilot\.any_of.*'H100' has no number"):
        read_config(None, ['skypilot.any_of=["H100"]'])
