from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from orchestrator.settings import refuse_unheard


def test_orchestrator_on_loopback_is_refused_for_islands_elsewhere():
    config = read_config(None, ["island.provider={ local = 1, ssh = 1 }"])
    with pytest.raises(ConfigError, match=r"orchestrator\.listen .* islands of local, ssh may run"):
        refuse_unheard(config)
    heard = ["orchestrator.listen=0.0.0.0:7000", "orchestrator.tls=tls"]
    refuse_unheard(read_config(None, heard))
