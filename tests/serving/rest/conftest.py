"""A trained run behind a real port."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import httpx2
import openai
import pytest
import torch

from atoll.clock import SystemClock
from serving.load import load_edition
from serving.rest.app import make_app
from serving.rest.server import RestServer
from serving.service import Service


@dataclass
class Served:
    """A service, and where it is."""

    service: Service
    server: RestServer

    @property
    def address(self) -> str:
        return self.server.address

    def client(self, **headers) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, headers=headers, timeout=60)

    def openai(self, key="none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0)


@pytest.fixture
def serve(trained):
    """Serves the run with some settings of ``[serving]``; and ends that."""
    made = []

    def start(*, keys=None, **serving):
        update = {"serving": trained.config.serving.model_copy(update=serving)}
        config, clock, bell = (
            trained.config.model_copy(update=update),
            SystemClock(),
            threading.Event(),
        )
        cpu = torch.device("cpu")
        edition = load_edition(trained.store, config, trained.folder / "cache", cpu, clock, bell)
        service = Service(edition, config.serving, clock, bell)
        service.start()
        made.append(Served(service, RestServer(make_app(service), "127.0.0.1:0")))
        return made[-1]

    yield start
    for each in made:
        each.server.stop(5)
        each.service.close()
