"""What a configuration asks of islands, and what their providers can give."""

from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from cluster.demands import refuse_unheard
from cluster.provider import Capabilities

NEAR, FAR = Capabilities(num_gpus=0), Capabilities(num_gpus=0, elsewhere=True)


def test_orchestrator_on_loopback_is_refused_for_islands_elsewhere():
    config = read_config(None, ["island.provider={ local = 1, ssh = 1 }"])
    with pytest.raises(ConfigError, match=r"orchestrator\.listen .* islands of local, ssh may run"):
        refuse_unheard(config, FAR)
    refuse_unheard(config, NEAR)
    heard = ["orchestrator.listen=0.0.0.0:7000", "orchestrator.tls=tls"]
    refuse_unheard(read_config(None, heard), FAR)
