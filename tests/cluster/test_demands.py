"""What a configuration asks of islands, and what their providers can give."""

from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from cluster.demands import refuse_gangs, refuse_unheard
from cluster.provider import Capabilities

NEAR, FAR = Capabilities(num_gpus=0), Capabilities(num_gpus=0, elsewhere=True)


def test_orchestrator_on_loopback_is_refused_for_islands_elsewhere():
    config = read_config(None, ["island.provider={ local = 1, ssh = 1 }"])
    with pytest.raises(ConfigError, match=r"orchestrator\.listen .* islands of local, ssh may run"):
        refuse_unheard(config, FAR)
    refuse_unheard(config, NEAR)
    heard = ["orchestrator.listen=0.0.0.0:7000", "orchestrator.tls=tls"]
    refuse_unheard(read_config(None, heard), FAR)


def test_islands_of_several_nodes_are_refused_where_nobody_starts_those():
    config = read_config(None, ["island.nodes=2", 'island.provider="ssh"'])
    with pytest.raises(ConfigError, match=r"island\.nodes = 2, and an island of ssh has one"):
        refuse_gangs(config, NEAR)
    refuse_gangs(config, Capabilities(num_gpus=0, gangs=True))
    refuse_gangs(read_config(None, []), NEAR)
