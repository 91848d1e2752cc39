"""An ensemble of small networks, an engine before it, and what a request becomes."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from atoll.config_file import save_config
from atoll.sections import SamplingSection
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from router.ensemble import Ensemble
from router.gate import LearnedGate
from router.network import build_router
from router.sampling import Sampler, Wanted
from router.selection import parse_strategy
from serving.engine.engine import Engine
from serving.engine.events import Done, Event, Failed, Painted
from serving.engine.model import Model
from serving.engine.request import Request, Sampling
from serving.engine.schedule import ROUNDS
from tests.fakes import ManualClock
from tests.trained_run import copied, train_run, with_sizes

CPU = torch.device("cpu")
SHAPE = (1, 4, 4)
CLASSES = Conditioning("class", 3)
SIZES = Sizes(width=16, depth=1, heads=2, patch=2)
NUM_EXPERTS = 3
SIDES = ((8, 8), (4, 16), (12, 4))  # heights and widths of images of a run of several sizes


@dataclass
class Memory:
    """Experts of which the test says which are in memory."""

    resident: dict[int, Any]
    lost: set[int] = field(default_factory=set)
    spared: list[set[int]] = field(default_factory=list)

    num = NUM_EXPERTS

    def tell(self, used: Any, wanted: Any, later: Any, soon: Any) -> None:
        assert set(used) <= set(self.resident)
        assert set(used) <= set(wanted)
        assert not set(wanted) & set(later)

    def spare(self, needed: Any) -> None:
        self.spared.append(set(needed))


@dataclass
class Told:
    """All that a listener heard."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        assert not self.is_over, "something follows the end"
        self.events.append(event)

    @property
    def is_over(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], Done | Failed)

    @property
    def images(self) -> torch.Tensor:
        painted = {it.position: it.image for it in self.events if isinstance(it, Painted)}
        return torch.stack([painted[position] for position in sorted(painted)])


def shaken(network: Any, seed: int) -> Any:
    """Weights large enough that every input matters; a fresh DiT is the zero field."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope="session")
def networks() -> Any:
    return [shaken(build_dit(SIZES, CLASSES, SHAPE, k), k) for k in range(NUM_EXPERTS)]


@pytest.fixture(scope="session")
def gate() -> LearnedGate:
    return LearnedGate(shaken(build_router(SIZES, CLASSES, SHAPE, NUM_EXPERTS, seed=9), 9))


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    return train_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(trained_folder, tmp_path):
    """A copy of a run whose experts and router are trained."""
    return copied(trained_folder, tmp_path)


@pytest.fixture
def sized(trained):
    """The same, whose images are of several sizes."""
    return with_sizes(trained, *SIDES)


@pytest.fixture
def trained_uri(trained) -> str:
    """A run that was trained, with its configuration beside it."""
    save_config(trained.store, trained.config)
    return trained.uri


@dataclass
class Serving:
    """``atoll serve`` as a process, and where it serves."""

    process: subprocess.Popen[str]
    log: Path
    rest: str
    grpc: str

    def leaves(self) -> bool:
        """Whether it leaves in peace, as it is told to."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60) == 0 and "Traceback" not in self.log.read_text()


@pytest.fixture
def serve_run(trained_uri, tmp_path):
    """Starts ``atoll serve`` with some settings."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:

        def start(*settings: str, more: Sequence[str] = ()) -> Serving:
            ports = ("listen=127.0.0.1:0", "grpc_listen=127.0.0.1:0")
            options = [f"--set=serving.{each}" for each in (*ports, "max_steps=400", *settings)]
            options += [f"--set={each}" for each in more]
            command = [sys.executable, "-m", "atoll", "serve", trained_uri, "--json", *options]
            log = tmp_path / f"serve-{next(numbers)}.log"
            with log.open("w") as told:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            line = process.stdout.readline()
            assert line, log.read_text()
            addresses = json.loads(line)
            return Serving(process, log, addresses["rest"], addresses["grpc"])

        yield start


@pytest.fixture
def memory(networks) -> Memory:
    return Memory(dict(enumerate(networks)))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_engine(memory, gate, clock):
    def make(
        num_slots: int = 8,
        most_rows: int = 8,
        experts: Any = memory,
        gate: Any = gate,
        others: Any = (),
        **more: Any,
    ) -> Engine:
        model, bell = Model(experts, gate, CLASSES, SHAPE, CPU, others), threading.Event()
        return Engine(model, clock, bell, num_slots=num_slots, most_rows=most_rows, **more)

    return make


@pytest.fixture(scope="session")
def alone(networks, gate):
    """The images of a request, drawn by the plain sampler."""

    def draw(request: Request) -> torch.Tensor:
        sampling = request.sampling
        ensemble = Ensemble(networks, gate, sampling.selection)
        settings = SamplingSection(
            solver=sampling.solver, steps=sampling.steps, guidance=sampling.guidance
        )
        sampler = Sampler(ensemble, CLASSES, SHAPE, CPU)
        wanted = Wanted(request.seeds, request.cond, shape=request.shape)
        return torch.cat(list(sampler.batches(wanted, settings)))

    return draw


def request_of(
    name: str,
    seeds: list[int],
    *,
    solver: str = "euler",
    steps: int = 3,
    guidance: float = 1.0,
    strategy: str = "top-1",
    **more: Any,
) -> Request:
    """Some images of classes that follow from their seeds."""
    cond = torch.tensor([seed % CLASSES.size for seed in seeds])
    sampling = Sampling(solver, steps, guidance, parse_strategy(strategy))
    return Request(name, seeds, cond, sampling, **more)


def most_skipped(num_slots: int, most_rows: int) -> int:
    """Batches in a row that an image can be left out of whose experts are in memory.

    It starves after some rounds. All may starve then, and one of each batch does no more; in large
    ones it is all but the two rows of the first image, and one where the next needs two.
    """
    num_rows = 2 * num_slots
    return ROUNDS * -(-num_rows // most_rows) + -(-num_rows // max(1, most_rows - 3))


def run(engine: Engine, most: int = 1000) -> int:
    """Tick until nothing is left; how often."""
    for tick in range(most):
        if not engine.tick() and not engine.num_images:
            return tick
    raise AssertionError("it never ends")
