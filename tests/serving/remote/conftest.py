"""Servers of experts in this process, over real gRPC, and gateways that know them."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

import pytest
import torch

from atoll.clock import SystemClock
from atoll.expert_server_section import ExpertServerSection
from serving.expert.conditions import Conditions
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.memory.source import Source
from serving.remote.experts import RemoteHolder
from serving.remote.pool import Pool
from tests.serving.conftest import CLASSES, CPU, SHAPE

CLOCK = SystemClock()


def digest(number: int) -> str:
    return f"digest-{number}"


def until(holds, seconds=30):
    """Wait for what another thread brings about."""
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


@dataclass
class Running:
    """A server of some experts."""

    server: ExpertServer
    evaluator: Evaluator
    address: str

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def kill(self):
        self.server.stop(0.0)


@pytest.fixture
def serve(networks):
    """Starts a server; of all experts, unless it is told otherwise."""
    with contextlib.ExitStack() as stack:

        def start(numbers=(0, 1, 2), servicer=None, field=lambda it: it, named=digest, **settings):
            section = ExpertServerSection(listen="127.0.0.1:0", **settings)
            evaluator = Evaluator(section.batch_rows, section.queue_rows, CPU, CLOCK)
            experts = [
                ServedExpert(k, named(k), field(networks[k]), CLASSES, (SHAPE,)) for k in numbers
            ]
            speaker = (servicer or ExpertsServicer)(
                "a run", experts, evaluator, CLOCK, lambda: False, Conditions(2**20)
            )
            evaluator.start()
            stack.callback(evaluator.stop)
            server = ExpertServer(speaker, section)
            running = Running(server, evaluator, server.start())
            stack.callback(server.stop, 0.0)
            return running

        yield start


@dataclass
class Gateway:
    """What knows servers, and the experts they make together."""

    pool: Pool
    holder: RemoteHolder

    def experts(self, num=3):
        sources = [Source("", k, digest(k), 0, dict, lambda _: None) for k in range(num)]
        return self.holder.share(sources)

    def ready(self, num=3):
        """Its experts, all of them served."""
        experts = self.experts(num)
        until(lambda: len(experts.resident) == num)
        return experts


@pytest.fixture
def gateway():
    """Makes a gateway that knows some addresses."""
    with contextlib.ExitStack() as stack:

        def make(addresses, *, deadline_s=20.0, wait_s=10.0, row_by_row=True, dtype=torch.float32):
            pool = Pool(lambda: addresses, None, deadline_s, threading.Event(), CLOCK)
            pool.start()
            stack.callback(pool.close)
            return Gateway(pool, RemoteHolder(pool, CLOCK, wait_s, row_by_row, dtype))

        yield make
