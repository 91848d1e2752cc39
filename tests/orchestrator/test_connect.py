from __future__ import annotations

import pytest

from atoll import layout
from atoll.config_file import read_config
from atoll.errors import BadInput
from cluster.processes import Detached
from orchestrator import connect


def test_connect_waits_for_what_an_orchestrator_tells_of_a_slow_provider(tmp_path, monkeypatch):
    log = layout.state_folder(str(tmp_path)) / connect.LOG
    log.parent.mkdir()
    asking = ["sh", "-c", "sleep 1; echo atoll: island.provider: squeue does not answer; exit 2"]
    monkeypatch.setattr(connect, "_start", lambda *_: Detached(asking, log))
    monkeypatch.setattr(connect, "_START_S", 0.2)
    with pytest.raises(BadInput, match=r"^island\.provider: squeue does not answer$"):
        connect.connect(read_config(None, [f"run.uri={tmp_path}"]))
