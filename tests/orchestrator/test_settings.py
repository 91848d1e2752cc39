"""What a configuration asks of islands, as their provider is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from atoll.config_file import read_config
from orchestrator.endpoint import ENDPOINT_FILE
from orchestrator.settings import fleet_policy, spec_of

PAIRS = ["island.nodes=2", "island.min_nodes=1", "island.price_per_hour=1.5"]


def test_islands_of_several_nodes_are_asked_for_as_such():
    config = read_config(None, PAIRS)
    spec = spec_of(config, "run", "127.0.0.1:7000", (), None)("island-1")
    assert (spec.num_nodes, spec.min_nodes) == (2, 1)
    assert (Path(spec.endpoint).name, spec.endpoint in spec.agent) == (ENDPOINT_FILE, False)
    policy = fleet_policy(config)
    assert (policy.max_nodes, policy.min_nodes) == (2, 1)
    assert (policy.prices.highest, policy.prices.num_nodes) == (1.5, 2)


def test_islands_need_all_their_nodes_unless_told_otherwise():
    assert fleet_policy(read_config(None, ["island.nodes=3"])).min_nodes == 3


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["island.provider=slurm"], True),
        (["island.provider={ local = 1, slurm = 1 }"], True),
        (["island.provider=slurm", "slurm.requeue=false"], False),
        (["island.provider=kubernetes"], False),
    ],
    ids=["slurm", "slurm-beside-others", "slurm-that-may-not", "kubernetes"],
)
def test_islands_come_back_under_later_names_only_where_slurm_may_requeue(pairs, expected):
    assert fleet_policy(read_config(None, pairs)).requeues is expected


def test_islands_take_layouts_in_turn():
    layouts = "island.parallel=[{ sequence = 2 }, { shard = 2 }]"
    spec = spec_of(read_config(None, ["island.processes=2", layouts]), "run", "a:1", (), None)
    agents = [spec(name).agent for name in ("island-1", "island-2", "island-3")]
    told = [words[words.index("--parallel") + 1] for words in agents]
    assert told == ["sequence=2", "shard=2", "sequence=2"]
