"""A trained run behind a real port."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx2
import openai
import pytest

from serving.rest.app import make_app
from serving.rest.server import RestServer
from serving.service.service import Service
from tests.serving.built import Built


@dataclass
class Served:
    """A service, and where it is."""

    built: Built
    server: RestServer
    address: str
    clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def service(self) -> Service:
        return self.built.service

    def client(self, **headers) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, headers=headers, timeout=60)

    def openai(self, key="none") -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0)
        self.clients.append(client)
        return client


@pytest.fixture
def serve(trained):
    """Serves the run with some settings of ``[serving]``; and ends that."""
    made = []

    def start(*, more=(), **serving):
        built = Built(trained, **serving)
        built.service.start()
        server = RestServer(make_app(built.service, **dict(more)), "127.0.0.1:0")
        made.append(Served(built, server, server.start()))
        return made[-1]

    yield start
    for each in made:
        for client in each.clients:
            client.close()
        each.server.stop(5)
        each.built.close()


@pytest.fixture
def served(serve):
    """The run, served as it is."""
    return serve()
