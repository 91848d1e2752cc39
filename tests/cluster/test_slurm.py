"""What Slurm's commands are understood to say; what real ones do is in tests/integration."""

from __future__ import annotations

import socket

import pytest

from atoll.config import Config
from cluster.provider import NodeSpec
from cluster.slurm import SlurmProvider


@pytest.mark.parametrize(
    ("sinfo", "elsewhere"),
    [
        (f"echo {socket.gethostname()}", False),
        (f"echo {socket.gethostname()}; echo node-7", True),
        ("echo Unable to contact slurm controller >&2; exit 1", True),
    ],
    ids=["here", "there-too", "silent"],
)
def test_slurm_that_may_have_other_nodes_is_elsewhere(sinfo, elsewhere, tmp_path, monkeypatch):
    command = tmp_path / "sinfo"
    command.write_text(f"#!/bin/sh\n{sinfo}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    provider = SlurmProvider(Config(), "run", tmp_path)
    assert provider.capabilities().elsewhere is elsewhere
    spec = NodeSpec("island-1", "run", (), 0, endpoint="/shared/orchestrator.json")
    assert ("--endpoint /shared/orchestrator.json" in provider._script(spec)) is not elsewhere
