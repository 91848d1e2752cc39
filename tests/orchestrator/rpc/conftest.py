"""A server on loopback for what is called over a real connection."""

from __future__ import annotations

import pytest

from orchestrator.rpc.server import start_server


@pytest.fixture
def address(service):
    server, address = start_server(service, "127.0.0.1:0", "run")
    yield address
    server.stop(grace=None).wait()
