from __future__ import annotations

import os
import subprocess
import sys

import pytest

from atoll.errors import BadInput
from orchestrator.endpoint import Endpoint, only_one


def test_endpoint_is_alive_as_long_as_its_process(tmp_path):
    assert Endpoint.read(tmp_path) is None
    Endpoint.publish(tmp_path, "127.0.0.1:1234")
    found = Endpoint.read(tmp_path)
    assert found is not None
    assert (found.address, found.process.pid) == ("127.0.0.1:1234", os.getpid())
    assert found.is_alive
    program = (
        "import pathlib, sys; from orchestrator.endpoint import Endpoint; "
        "Endpoint.publish(pathlib.Path(sys.argv[1]), '127.0.0.1:1')"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    left = Endpoint.read(tmp_path)
    assert left is not None
    assert not left.is_alive


def test_only_one_waits_then_refuses_a_second(tmp_path, clock):
    with (
        only_one(tmp_path / "state", clock),
        pytest.raises(BadInput, match="another orchestrator"),
        only_one(tmp_path / "state", clock),
    ):
        pass
    with only_one(tmp_path / "state", clock):
        pass
