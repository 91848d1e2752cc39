"""What a configuration asks of islands, as their provider is told."""

from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from cluster.provider import Capabilities
from orchestrator.settings import fleet_policy, refuse_gangs, spec_of

PAIRS = ["island.nodes=2", "island.min_nodes=1", "island.price_per_hour=1.5"]


def test_islands_of_several_nodes_are_asked_for_as_such():
    config = read_config(None, PAIRS)
    spec = spec_of(config, "run", "127.0.0.1:7000", (), None)("island-1")
    assert (spec.num_nodes, spec.min_nodes) == (2, 1)
    policy = fleet_policy(config)
    assert (policy.max_nodes, policy.min_nodes, policy.price_per_hour) == (2, 1, 3.0)


def test_islands_need_all_their_nodes_unless_told_otherwise():
    assert fleet_policy(read_config(None, ["island.nodes=3"])).min_nodes == 3


def test_islands_of_several_nodes_are_refused_where_nobody_starts_those():
    config = read_config(None, [*PAIRS, 'island.provider="ssh"'])
    with pytest.raises(ConfigError, match=r"island\.nodes = 2, and an island of ssh has one"):
        refuse_gangs(config, Capabilities(num_gpus=0))
    refuse_gangs(config, Capabilities(num_gpus=0, gangs=True))
    refuse_gangs(read_config(None, []), Capabilities(num_gpus=0))
