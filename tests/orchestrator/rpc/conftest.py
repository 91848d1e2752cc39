"""A server on loopback for what is called over a real connection."""

from __future__ import annotations

import pytest

from atoll.control import ControlClient
from atoll.types import Submission
from orchestrator.rpc.server import start_server


@pytest.fixture
def address(service):
    server, address = start_server(service, "127.0.0.1:0", "run")
    yield address
    server.stop(grace=None).wait()


def connected(address):
    with ControlClient(address, "run") as opened:
        yield opened


client, agent, operator = (
    pytest.fixture(connected, name=name) for name in ("client", "agent", "operator")
)


@pytest.fixture
def lease(agent, operator, spec):
    operator.submit([Submission(spec())])
    return agent.acquire("island-1", "r").lease
