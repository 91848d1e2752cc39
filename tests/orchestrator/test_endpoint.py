from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from atoll.errors import BadInput
from orchestrator.endpoint import Endpoint, identity, only_one, this_process


def test_endpoint_is_alive_as_long_as_its_process(tmp_path):
    assert Endpoint.read(tmp_path) is None
    run = identity(tmp_path)
    this_process("127.0.0.1:1234", run, "settings").publish(tmp_path)
    found = Endpoint.read(tmp_path)
    assert found is not None
    assert (found.address, found.process.pid) == ("127.0.0.1:1234", os.getpid())
    assert found.is_alive
    program = (
        "import pathlib, sys; from orchestrator.endpoint import this_process; "
        "this_process('127.0.0.1:1', sys.argv[2], '').publish(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), run], check=True)
    left = Endpoint.read(tmp_path)
    assert left is not None
    assert not left.is_alive


def test_endpoint_and_identity_of_a_copied_folder_are_not_the_copys(tmp_path):
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    run = identity(first)
    this_process("127.0.0.1:1", run, "").publish(first)
    shutil.copytree(first, copy)
    assert Endpoint.read(copy) is None
    assert identity(copy) != run
    assert identity(first) == run


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"address": "a"}'])
def test_endpoint_that_cannot_be_read_is_none(tmp_path, torn):
    identity(tmp_path)
    (tmp_path / "orchestrator.json").write_text(torn)
    assert Endpoint.read(tmp_path) is None


def test_only_one_waits_then_refuses_a_second(tmp_path, clock):
    with (
        only_one(tmp_path / "state", clock),
        pytest.raises(BadInput, match="another orchestrator"),
        only_one(tmp_path / "state", clock),
    ):
        pass
    with only_one(tmp_path / "state", clock):
        pass
