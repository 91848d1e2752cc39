"""A run with real processes: launcher, orchestrator, agents, and fake trainers."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from atoll import layout, stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import read_config
from atoll.types import CheckpointRef, Event, JobView
from cluster import processes
from cluster.processes import ProcessId
from orchestrator.connect import attach
from orchestrator.endpoint import Endpoint
from orchestrator.process import database_url
from orchestrator.sql_store import SqlStore

HERE = Path(__file__).parent


def wait_until(holds: Callable[[], object], seconds: float = 40) -> None:
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(0.05)


@dataclass
class Run:
    """One run, its folder, and the processes that work on it."""

    uri: Path
    steps: int = 60
    options: str = "--step-s 0.02 --every 10"
    overrides: list[str] = field(default_factory=list)
    launched: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        stages.finish(open_store(str(self.uri)), "partition", {}, {"digest": "p"})

    @property
    def settings(self) -> list[str]:
        return [
            f"run.uri={self.uri}",
            f"training.steps={self.steps}",
            "partition.num_experts=2",
            "evaluation.monolith=false",
            "island.lease_s=4",
            "island.backoff_s=0.2",
            *self.overrides,
        ]

    @property
    def config(self) -> Config:
        return read_config(None, self.settings)

    def launch(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "launcher.py"), self.options, *self.settings]
        self.launched.append(
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return self.launched[-1]

    def finish(self, launcher: subprocess.Popen[str]) -> str:
        """Wait for its end; returns what it told its user."""
        return launcher.communicate(timeout=60)[1]

    def atoll(self, *command: str) -> str:
        """What a command prints."""
        options = [word for setting in self.settings for word in ("--set", setting)]
        called = [sys.executable, "-m", "atoll", *command, *options]
        return subprocess.run(called, check=True, capture_output=True, text=True).stdout

    def folder(self) -> Path:
        return layout.state_folder(str(self.uri))

    def jobs(self) -> dict[str, JobView]:
        """As its orchestrator tells; empty while there is none."""
        client = attach(self.config)
        if client is None:
            return {}
        with client:
            return {job.spec.name: job for job in client.fleet().jobs}

    def committed(self, job: str) -> int:
        found = self.jobs().get(job)
        return found.checkpoint.step if found and found.checkpoint else 0

    def orchestrator(self) -> psutil.Process:
        endpoint = Endpoint.read(self.folder())
        assert endpoint is not None
        return psutil.Process(endpoint.process.pid)

    def agent(self, island: str) -> psutil.Process:
        record = self.folder() / "islands" / island / "node.json"
        process = ProcessId(**json.loads(record.read_text())["process"]).find()
        assert process is not None
        return process

    def agent_of(self, job: str) -> psutil.Process:
        return self.agent(self.jobs()[job].island)

    def trainer_of(self, job: str) -> psutil.Process:
        (trainer,) = self.agent_of(job).children()
        return trainer

    def agent_log(self, island: str) -> str:
        return (self.folder() / "islands" / island / "agent.log").read_text()

    def events(self) -> tuple[Event, ...]:
        store = SqlStore(database_url(self.config))
        try:
            return store.events(after=0, limit=10_000)
        finally:
            store.close()

    def results(self) -> dict[str, CheckpointRef]:
        made = stages.require(open_store(str(self.uri)), "train", needed_by="test")
        return {name: CheckpointRef(**tree) for name, tree in made.items()}

    def weights(self) -> dict[str, str]:
        refs = self.results().items()
        return {name: (self.uri / ref.key / "weights").read_text() for name, ref in refs}

    def processes(self) -> list[psutil.Process]:
        """All that work on the run, except launchers."""
        found = set(processes.working_in(self.folder()))
        endpoint = Endpoint.read(self.folder())
        serving = endpoint.process.find() if endpoint else None
        return [*found, serving] if serving else list(found)

    def stop(self) -> None:
        for launcher in self.launched:
            launcher.kill()
            launcher.communicate()
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.kill(self.processes())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path / "run")
    yield made
    made.stop()


@pytest.fixture
def until():
    return wait_until


@pytest.fixture
def undisturbed() -> Callable[[Run], dict[str, str]]:
    """The weights a run must end with, whatever happens on the way."""
    spec = importlib.util.spec_from_file_location("fake_trainer", HERE.parent / "fake_trainer.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda run: {
        name: module.weights_after(name, run.steps) for name in ("expert-0", "expert-1")
    }
