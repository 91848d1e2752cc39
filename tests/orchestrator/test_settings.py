"""What a configuration asks of islands, as their provider is told."""

from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from cluster.provider import Capabilities
from orchestrator.settings import fleet_policy, refuse_gangs, refuse_unheard, spec_of

PAIRS = ["island.nodes=2", "island.min_nodes=1", "island.price_per_hour=1.5"]


def test_orchestrator_on_loopback_is_refused_for_islands_elsewhere():
    config = read_config(None, ["island.provider={ local = 1, ssh = 1 }"])
    with pytest.raises(ConfigError, match=r"orchestrator\.listen .* islands of local, ssh may run"):
        refuse_unheard(config)
    heard = ["orchestrator.listen=0.0.0.0:7000", "orchestrator.tls=tls"]
    refuse_unheard(read_config(None, heard))


def test_islands_of_several_nodes_are_asked_for_as_such():
    config = read_config(None, PAIRS)
    spec = spec_of(config, "run", "127.0.0.1:7000", (), None)("island-1")
    assert (spec.num_nodes, spec.min_nodes) == (2, 1)
    policy = fleet_policy(config)
    assert (policy.max_nodes, policy.min_nodes, policy.prices.highest) == (2, 1, 3.0)


def test_islands_need_all_their_nodes_unless_told_otherwise():
    assert fleet_policy(read_config(None, ["island.nodes=3"])).min_nodes == 3


def test_islands_of_several_nodes_are_refused_where_nobody_starts_those():
    config = read_config(None, [*PAIRS, 'island.provider="ssh"'])
    with pytest.raises(ConfigError, match=r"island\.nodes = 2, and an island of ssh has one"):
        refuse_gangs(config, Capabilities(num_gpus=0))
    refuse_gangs(config, Capabilities(num_gpus=0, gangs=True))
    refuse_gangs(read_config(None, []), Capabilities(num_gpus=0))
