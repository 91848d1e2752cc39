"""A trained run, served over gRPC on loopback."""

from __future__ import annotations

import threading

import grpc
import pytest
import torch

from atoll.clock import SystemClock
from atoll.errors import Forbidden
from atoll.wire.v1 import images_pb2_grpc as rpc
from serving.rpc.callers import Callers
from serving.rpc.server import GrpcFrontEnd
from serving.service.load import load_edition
from serving.service.service import Service
from tests.trained_run import copied

KEYS = {"": "anyone", "key-of-ada": "ada", "key-of-bob": "bob"}


def owner_of(key: str) -> str:
    if key not in KEYS:
        raise Forbidden("this API key is not known")
    return KEYS[key]


class Served:
    """A service and its front end, and a stub of it."""

    def __init__(self, run, rates=None, **serving) -> None:
        update = {"grpc_listen": "127.0.0.1:0", **serving}
        settings = run.config.serving.model_copy(update=update)
        config = run.config.model_copy(update={"serving": settings})
        self.run, clock, bell = run, SystemClock(), threading.Event()
        cache, device = run.folder / "cache", torch.device("cpu")
        edition = load_edition(run.store, config, cache, device, clock, bell)
        self.service = Service(edition, settings, clock, bell)
        self.refused: list[str] = []
        callers = Callers(owner_of, rates, self.refused.append)
        self.front = GrpcFrontEnd(self.service, settings, clock, callers)
        self.service.start()
        self.address = self.front.start()
        # Of what is not read, little is to be on the way: no more than is asked for at least.
        self.channel = grpc.insecure_channel(self.address, [("grpc.http2.bdp_probe", 0)])
        self.stub = rpc.ImagesStub(self.channel)

    def job(self, name, owner="anyone"):
        return self.service.job(name, owner)

    def close(self) -> None:
        self.channel.close()
        self.front.stop(0)
        self.service.close()


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
