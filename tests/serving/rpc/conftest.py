"""A trained run, served over gRPC on loopback."""

from __future__ import annotations

import threading

import grpc
import pytest
import torch

from atoll.clock import SystemClock
from atoll.errors import Forbidden
from atoll.wire.v1 import images_pb2_grpc as rpc
from serving.load import load_edition
from serving.rpc.server import GrpcFrontEnd
from serving.service import Service

KEYS = {"": "anybody", "one": "me", "two": "you"}


def owner_of(key: str) -> str:
    if key not in KEYS:
        raise Forbidden("no such key")
    return KEYS[key]


class Served:
    """A service and its front end."""

    def __init__(self, trained, serving) -> None:
        limits = trained.config.serving.model_copy(update=serving)
        config = trained.config.model_copy(update={"serving": limits})
        bell = threading.Event()
        edition = load_edition(
            trained.store,
            config,
            trained.folder / "cache",
            torch.device("cpu"),
            SystemClock(),
            bell,
        )
        self.service = Service(edition, limits, SystemClock(), bell)
        self.front = GrpcFrontEnd(self.service, "127.0.0.1:0", SystemClock(), owner_of)
        self.service.start()
        self.address = self.front.start()
        self.channel = grpc.insecure_channel(
            self.address,
            [("grpc.http2.bdp_probe", 0)],  # else what is not read piles up
        )
        self.stub = rpc.ImagesStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.front.stop(0)
        self.service.close()


@pytest.fixture
def serve(trained):
    made = []

    def start(**serving) -> Served:
        made.append(Served(trained, serving))
        return made[-1]

    yield start
    for served in made:
        served.close()


@pytest.fixture
def served(serve):
    return serve()
