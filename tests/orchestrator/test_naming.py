from __future__ import annotations

from pathlib import Path

import pytest

from atoll import layout
from atoll.config import Config
from atoll.config_file import read_config
from atoll.errors import BlobDamaged
from atoll.s3_store import S3Store
from orchestrator.endpoint import Endpoint, identity, this_process
from orchestrator.naming import name_of

SHARED = "orchestrator.database=postgresql://atoll@127.0.0.1/nowhere"  # never opened here


def config_of(uri: Path | str, *overrides: str) -> Config:
    return read_config(None, [f"run.uri={uri}", *overrides])


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Goes to a machine that has nothing but what lies in a bucket."""

    def go(name: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)

    return go


def test_name_of_a_run_with_a_database_of_its_own_is_its_folders(tmp_path):
    config = config_of(tmp_path / "run")
    assert name_of(config) == name_of(config) == identity(layout.state_folder(config.run.uri))
    assert not (tmp_path / "run" / "names").exists()


def test_name_of_a_run_with_a_shared_database_is_the_same_on_every_machine(machine, bucket):
    config = config_of(f"{bucket}/run", SHARED)
    machine("first")
    name = name_of(config)
    machine("second")
    assert name_of(config) == name
    this_process("127.0.0.1:1", name, "").publish(layout.state_folder(config.run.uri))
    assert Endpoint.read(layout.state_folder(config.run.uri)) is not None
    assert name_of(config_of(f"{bucket}/copy", SHARED)) != name


def test_name_given_by_another_machine_at_the_same_moment_is_taken(machine, bucket, monkeypatch):
    config = config_of(f"{bucket}/run", SHARED)
    machine("first")
    name = name_of(config)
    machine("second")
    monkeypatch.setattr(S3Store, "exists", lambda *_: False)  # as it was when both looked
    assert name_of(config) == name


def test_name_a_run_had_before_it_was_shared_stays(tmp_path):
    before = name_of(config_of(tmp_path / "run"))
    assert name_of(config_of(tmp_path / "run", SHARED)) == before


@pytest.mark.parametrize("torn", [b"", b"\xff", b"../../etc", b"36a6b1d0"])
def test_name_that_is_none_is_refused(tmp_path, torn):
    config = config_of(tmp_path / "run", SHARED)
    name_of(config)
    (file,) = (tmp_path / "run" / "names").iterdir()
    file.write_bytes(torn)
    with pytest.raises(BlobDamaged, match="holds no name"):
        name_of(config)
