"""Servers of experts in this process, over real gRPC, and gateways that know them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from atoll.__main__ import main
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
from tests.serving.remote.processes import Server

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


@pytest.fixture
def serve_expert(trained_uri, tmp_path):
    """Starts servers of experts, with some settings."""
    with contextlib.ExitStack() as stack:

        def start(*numbers, settings=(), within=()):
            options = [f"--set={each}" for each in ("expert_server.listen=127.0.0.1:0", *settings)]
            experts = [word for number in numbers for word in ("--expert", str(number))]
            command = [sys.executable, "-m", "atoll", "serve-expert", trained_uri, "--json"]
            log = (tmp_path / f"expert-{len(started)}.log").open("w+")
            stack.enter_context(log)
            process = subprocess.Popen(
                [*within, *command, *experts, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
            return process, log

        def ready(begun):
            process, log = begun
            line = process.stdout.readline()
            log.seek(0)
            assert line, log.read()
            return Server(process, json.loads(line)["grpc"], log)

        started: list[subprocess.Popen[str]] = []
        start.ready = ready
        yield start


@pytest.fixture
def orchestrate(trained_uri, tmp_path):
    """Starts the run's orchestrator, with some settings of its own."""
    with contextlib.ExitStack() as stack:

        def start(**settings):
            file = Path(trained_uri) / "config.json"
            saved = json.loads(file.read_text())
            saved["orchestrator"] |= settings
            file.write_text(json.dumps(saved))
            command = [sys.executable, "-m", "atoll", "orchestrator", "--run-uri", trained_uri]
            log = stack.enter_context((tmp_path / "orchestrator.log").open("a+"))
            process = subprocess.Popen(command, stderr=log, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def told(capsys):
    """What a command tells programs."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--json"])
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        return json.loads(said.out)

    return call
