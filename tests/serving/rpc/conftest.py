"""A trained run, served over gRPC on loopback."""

from __future__ import annotations

import grpc
import pytest

from atoll.errors import Forbidden
from atoll.wire.v1 import images_pb2_grpc as rpc
from serving.rpc.callers import Callers
from serving.rpc.server import GrpcFrontEnd
from tests.serving.built import Built
from tests.trained_run import copied

KEYS = {"": "anyone", "key-of-ada": "ada", "key-of-bob": "bob"}


def owner_of(key: str) -> str:
    if key not in KEYS:
        raise Forbidden("this API key is not known")
    return KEYS[key]


class Served:
    """A service and its front end, and a stub of it."""

    def __init__(self, run, rates=None, **serving) -> None:
        self.run = run
        self.built = Built(run, **{"grpc_listen": "127.0.0.1:0", **serving})
        self.service, self.refused = self.built.service, list[str]()
        callers = Callers(owner_of, rates, self.refused.append)
        settings, clock = self.built.config.serving, self.built.clock
        self.front = GrpcFrontEnd(self.service, settings, clock, callers)
        self.service.start()
        try:
            self.address = self.front.start()
        except Exception:
            self.built.close()  # what still draws when Python ends brings it down
            raise
        # Of what is not read, little is to be on the way: no more than is asked for at least.
        self.channel = grpc.insecure_channel(self.address, [("grpc.http2.bdp_probe", 0)])
        self.stub = rpc.ImagesStub(self.channel)

    def job(self, name, owner="anyone"):
        return self.service.job(name, owner)

    def close(self) -> None:
        self.channel.close()
        self.front.stop(0)
        self.built.close()


@pytest.fixture(scope="session")
def run(trained_folder, tmp_path_factory):
    return copied(trained_folder, tmp_path_factory.mktemp("served"))


@pytest.fixture
def serve(run):
    """Serves the run with some settings of ``[serving]``; and ends that."""
    made = []

    def start(**settings) -> Served:
        made.append(Served(run, **settings))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def served(run):
    """The run as it is, for tests that leave no trace."""
    made = Served(run)
    yield made
    made.close()


@pytest.fixture
def valve(served):
    """Before the engine of the run as it is; open again afterwards, whatever the test did."""
    yield served.built.valve
    served.built.valve.let(None)
