"""What Slurm's commands are understood to say; what real ones do is in tests/integration."""

from __future__ import annotations

import socket
import stat
import subprocess
import time
from collections.abc import Callable

import pytest

from atoll.config import Config
from atoll.config_file import read_config
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


def test_slurm_is_given_no_token_and_no_password_of_the_database(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "of the database")
    monkeypatch.setenv("AWS_REGION", "of the storage")
    told = tmp_path / "told"
    setup = f"slurm.setup=env >{told}.part; mv {told}.part {told}; exec sleep 1000"
    provider = SlurmProvider(read_config(None, [setup]), f"runs/{tmp_path.name}", tmp_path / "all")
    spec = NodeSpec("island-1", f"runs/{tmp_path.name}", (), 0, token="a secret\n")  # noqa: S106
    provider.submit(spec, "k")
    wait_until(told.exists)
    environment = dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)
    assert environment["AWS_REGION"] == "of the storage"
    assert not [name for name in environment if name.startswith("PG")]
    number = environment["SLURM_JOB_ID"]
    kept = subprocess.check_output(["scontrol", "write", "batch_script", number, "-"], text=True)
    token = tmp_path / "all" / "island-1" / "work" / "join"
    assert f"--join {token}" in kept
    assert "secret" not in kept
    assert token.read_text() == "a secret\n"
    assert [stat.S_IMODE(it.stat().st_mode) for it in (token, token.parent)] == [0o600, 0o700]
    provider.cancel("island-1")
    assert not token.exists()
    wait_until(lambda: not provider.list(spec.label)[0].alive)


def wait_until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
