"""A run with real processes: launcher, orchestrator, agents, and fake trainers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from safetensors.numpy import load_file

from atoll import layout, stages
from atoll.__main__ import main
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import read_config
from atoll.control import ControlClient
from atoll.errors import Unreachable
from atoll.partitioned import partition_inputs
from atoll.types import CheckpointRef, Event
from atoll.views import FleetView, JobView
from cluster import processes
from cluster.processes import ProcessId
from orchestrator.connect import attach
from orchestrator.endpoint import Endpoint
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import database_url
from tests.warm import WarmCommand

HERE = Path(__file__).parent
LAUNCHER = "from tests.integration.launcher import main; main()"
COMMAND = "from atoll.__main__ import main; main()"
# The digits in two clusters, and networks so small that little but starting takes time.
DIGITS = [
    "partition.num_fine=8",
    "expert.width=16",
    "expert.depth=1",
    "expert.heads=2",
    "expert.patch=4",
    "training.batch_size=32",
    "training.checkpoint_every_steps=10",
    "training.log_every_steps=10",
    "router.width=16",
    "router.depth=1",
    "router.heads=2",
    "router.patch=4",
    "router.batch_size=32",
    "router.steps=100",
    "sampling.steps=2",
    "evaluation.num_samples=32",
    'evaluation.strategies=["top-1"]',
]


Launched = WarmCommand | subprocess.Popen[str]


def wait_until(holds: Callable[[], object], seconds: float = 120, pause_s: float = 0.1) -> None:
    """Look again and again; a look takes about 10 ms of the processor, more with all processes."""
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(pause_s)


def called(*words: object) -> subprocess.CompletedProcess[str]:
    """A command of Atoll, in this process, which has made the imports already."""
    code: str | int | None = 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(words, int(code or 0), out.getvalue(), err.getvalue())


def make_certificates(folder: Path, *options: str) -> None:
    called("certs", folder, *options).check_returncode()


def words_of(process: psutil.Process) -> list[str]:
    """Its command; nothing if it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _connections(process: psutil.Process) -> list[Any]:
    """None of one that has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.net_connections()
    return []


@dataclass
class Run:
    """One run, its folder or URL, and the processes that work on it."""

    uri: Path | str
    steps: int = 60
    options: str = "--step-s 0.02 --every 10"
    overrides: list[str] = field(default_factory=list)
    launched: list[Launched] = field(default_factory=list)
    cold: bool = False  # whether its command makes all imports itself
    folders: set[Path] = field(default_factory=set)  # of all machines it was launched on
    attached: tuple[Endpoint, ControlClient] | None = None

    def __post_init__(self) -> None:
        made = {"digest": "p", "shape": [8, 8, 1], "class_names": ["a"], "has_captions": False}
        made["num_without_caption"] = 0
        made["buckets"] = []
        made["shard_sets"] = [{"num_samples": 9}] * 8  # no run here has more experts
        # The others may be settings that the run's commands are to refuse.
        of_it = [each for each in self.settings if each.startswith(("run.", "data.", "partition."))]
        inputs = partition_inputs(read_config(None, of_it))
        stages.finish(open_store(str(self.uri)), "partition", inputs, made)

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

    def launch(self, stages: str = "train") -> Launched:
        self.folders.add(self.folder().absolute())
        words = [stages, self.options, *self.settings]
        if self.cold:
            command = [sys.executable, str(HERE / "launcher.py"), *words]
            self.launched.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        else:
            self.launched.append(WarmCommand(LAUNCHER, *words))
        return self.launched[-1]

    def finish(self, launcher: Launched, timeout_s: float = 300) -> str:
        """Wait for its end; returns what it told its user."""
        return launcher.communicate(timeout=timeout_s)[1]

    def command(self, *words: str) -> list[str]:
        """What a user types, with the settings of the run."""
        options = [word for setting in self.settings for word in ("--set", setting)]
        return [sys.executable, "-m", "atoll", *words, *options]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command that looks or steers, with the settings of the run."""
        return called(*self.command(*words)[3:])

    def atoll(self, *words: str) -> str:
        """What such a command prints."""
        answered = self.call(*words)
        assert answered.returncode == 0, answered.stderr
        return answered.stdout

    def folder(self) -> Path:
        return layout.state_folder(str(self.uri))

    def jobs(self) -> dict[str, JobView]:
        """As its orchestrator tells; empty while there is none."""
        fleet = self.fleet()
        return {job.spec.name: job for job in fleet.jobs} if fleet else {}

    def fleet(self) -> FleetView | None:
        """As its orchestrator tells; None while there is none.

        Tests ask all the time, so whoever answered is asked again over the same connection.
        """
        for _ in range(100):
            endpoint = Endpoint.read(self.folder())
            if endpoint is None:
                return None
            if self.attached and self.attached[0] != endpoint:
                self.detach()
            with contextlib.suppress(Unreachable):  # it may be on its way out
                if self.attached is None:
                    client = attach(self.config)
                    if client is None:
                        return None
                    self.attached = endpoint, client
                return self.attached[1].fleet()
            self.detach()
            time.sleep(0.1)
        raise Unreachable("no orchestrator answers")

    def detach(self) -> None:
        if self.attached:
            self.attached[1].close()
        self.attached = None

    def committed(self, job: str) -> int:
        found = self.jobs().get(job)
        return found.checkpoint.step if found and found.checkpoint else 0

    def nodes(self) -> tuple[str, ...]:
        """Of the first island, those that train together, the leader first."""
        fleet = self.fleet()
        return next((island.nodes for island in fleet.islands), ()) if fleet else ()

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
        """The last checkpoint of each job whose stage is finished."""
        store = open_store(str(self.uri))
        return {
            name: CheckpointRef(**tree)
            for stage in ("train", "route")
            if store.exists(layout.stage_manifest(stage))
            for name, tree in stages.require(store, stage, needed_by="test").items()
        }

    def weights(self) -> dict[str, str]:
        store, refs = open_store(str(self.uri)), self.results().items()
        return {name: store.get_bytes(f"{ref.key}/weights").decode() for name, ref in refs}

    def processes(self) -> list[psutil.Process]:
        """All that work on the run, except launchers."""
        found: set[psutil.Process] = set()
        for folder in self.folders | {self.folder().absolute()}:
            found |= set(processes.working_in(folder))
            endpoint = Endpoint.read(folder)
            serving = endpoint.process.find() if endpoint else None
            found |= {serving} if serving else set()
        return list(found)

    def wait_for_its_end(self, seconds: float = 120) -> None:
        """Return once nobody works on it."""
        give_up_at = time.monotonic() + seconds
        while working := self.processes():
            left = give_up_at - time.monotonic()
            assert left > 0, f"they work on: {working}"
            psutil.wait_procs(working, timeout=left)

    def listening(self) -> set[str]:
        """The addresses at which anything of the run can be called."""
        return {
            connection.laddr.ip.removeprefix("::ffff:")  # IPv4 through a socket of IPv6
            for process in self.processes()
            for connection in _connections(process)
            if connection.status == psutil.CONN_LISTEN
        }

    def stop(self) -> None:
        self.detach()
        for launcher in self.launched:
            launcher.kill()
            launcher.communicate()
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.kill(self.processes())


@dataclass
class DigitsRun(Run):
    """A run with nothing in it that a user has not: real data, real trainers, all of Atoll."""

    steps: int = 100

    def __post_init__(self) -> None:
        """The partition is made by its command, or taken from another run."""

    @property
    def settings(self) -> list[str]:
        return [*DIGITS, *super().settings]

    def launch(self, *words: str) -> Launched:
        self.launched.append(WarmCommand(COMMAND, *self.command(*words)[3:]))
        return self.launched[-1]

    def take_partition(self, other: Run) -> None:
        shutil.copytree(other.uri / "partition", self.uri / "partition")
        made = layout.stage_manifest("partition")
        (self.uri / made).parent.mkdir()
        shutil.copy(other.uri / made, self.uri / made)

    def ranks_of(self, job: str) -> list[psutil.Process]:
        """The training processes, in the order of their ranks; torchrun is none of them."""
        trainer = self.trainer_of(job)
        if "torch.distributed.run" not in trainer.cmdline():
            return [trainer]
        trainers = [p for p in trainer.children() if "--work-dir" in p.cmdline()]
        return sorted(trainers, key=lambda process: int(process.environ()["RANK"]))

    def checkpoint(self, job: str) -> Path:
        """Folder of the last checkpoint of a job."""
        return self.uri / self.results()[job].key

    def weights(self) -> dict[str, str]:
        """Digests of all tensors that jobs go on from, or are sampled with.

        Not of whole files: safetensors writes the entries of a header in any order.
        """
        return {
            f"{job} {path.name} {key}": hashlib.sha256(tensor.tobytes()).hexdigest()
            for job in self.results()
            for path in self.checkpoint(job).rglob("*.safetensors")
            for key, tensor in load_file(path).items()
        }
