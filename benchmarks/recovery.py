"""From a signal to an island until it is known, and until its job trains again.

    python benchmarks/recovery.py [--trainer fake|real] [--repeats 3]

A run of two islands with the default lease of 10 s; the trainer or the agent of one is killed, or
its agent frozen. It is known once the orchestrator says so in an event, and trains again once the
first checkpoint after it is committed. The fake trainer of the tests starts at once; with the real
one, the import of torch is measured beside it. Baseline, where scripts/peers has brought it: an
actor of Ray with its defaults whose process or node meets the same. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peer
import psutil

from atoll import layout, stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import read_config
from atoll.types import Event
from cluster import processes, state_file
from cluster.processes import ProcessId
from orchestrator.endpoint import Endpoint
from orchestrator.settings import islands_folder
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import database_url

ROOT = Path(__file__).parents[1]
JOB = "expert-0"
LOST = {"trainer-restarted", "island-gone", "island-lost"}
FAULTS = {  # ours, and what comes nearest to it in Ray
    "trainer-killed": "worker-killed",
    "agent-killed": "node-killed",
    "agent-frozen": "node-frozen",
}
SETTINGS = ["partition.num_experts=2", "training.steps=1000000", "evaluation.monolith=false"]
TINY = [
    *("partition.num_fine=8", "expert.width=16", "expert.depth=1", "expert.heads=2"),
    *("expert.patch=4", "training.batch_size=32", "training.checkpoint_every_steps=10"),
]


class Run:
    """A run at work."""

    def __init__(self, folder: str, *, real: bool) -> None:
        self._settings = [f"run.uri={folder}/run", *SETTINGS, *(TINY if real else [])]
        self.config: Config = read_config(None, self._settings)
        self.folder = layout.state_folder(self.config.run.uri)
        if real:
            subprocess.run(self._atoll("partition"), check=True, capture_output=True)
            command = self._atoll("train")
        else:
            made = {"digest": "p", "shape": [8, 8, 1], "class_names": ["a"], "has_captions": False}
            stages.finish(open_store(self.config.run.uri), "partition", {}, made)
            launcher = ROOT / "tests" / "integration" / "launcher.py"
            options = "--step-s 0.05 --every 1"
            command = [sys.executable, str(launcher), "train", options, *self._settings]
        self._launched = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def first(self, after: int, wanted: Callable[[Event], bool]) -> Event:
        """The first such event of the job with a number above ``after``, when it comes."""
        while True:
            assert self._launched.poll() is None, f"the run ended, see {self.folder}"
            if Endpoint.read(self.folder):  # its tables are made by then
                with contextlib.closing(SqlStore(database_url(self.config))) as store:
                    for event in store.events(after, 10_000):
                        after = event.number
                        if event.job == JOB and wanted(event):
                            return event
            time.sleep(0.1)

    def victim(self, fault: str, island: str) -> psutil.Process:
        """The process that a fault befalls."""
        record = state_file.read(islands_folder(self.config) / island / "node.json")
        assert record
        agent = ProcessId(**record["process"]).find()
        assert agent
        return agent.children()[0] if fault == "trainer-killed" else agent

    def stop(self) -> None:
        """Kill all of it."""
        self._launched.kill()
        self._launched.wait()
        endpoint = Endpoint.read(self.folder)
        serving = endpoint.process.find() if endpoint else None
        processes.kill([*processes.working_in(self.folder), *([serving] if serving else [])])

    def _atoll(self, stage: str) -> list[str]:
        options = [word for setting in self._settings for word in ("--set", setting)]
        return [sys.executable, "-m", "atoll", stage, *options]


@contextlib.contextmanager
def at_work(*, real: bool) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, real=real)
        try:
            yield run
        finally:
            run.stop()


def recovered(fault: str, *, real: bool) -> tuple[float, float]:
    """Seconds from a fault until it is known, and until the job trains again."""
    with at_work(real=real) as run:
        trains = run.first(0, lambda event: event.kind == "checkpoint-committed")
        time.sleep(3)  # until both islands have settled
        victim = run.victim(fault, trains.island)
        begin = time.time()
        victim.send_signal(signal.SIGSTOP if fault == "agent-frozen" else signal.SIGKILL)
        lost = run.first(trains.number, lambda event: event.kind in LOST)
        again = run.first(lost.number, lambda event: event.kind == "checkpoint-committed")
        assert again.epoch > trains.epoch or lost.kind == "trainer-restarted"
        return lost.at - begin, again.at - begin


def import_s() -> float:
    """How long a process takes to import torch and end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trainer", choices=["fake", "real"], default="fake")
    parser.add_argument("--repeats", type=int, default=3)
    peer.add_option(parser)
    args = parser.parse_args()
    real, python = args.trainer == "real", peer.interpreter("ray", args.peers)
    result: dict[str, Any] = {"benchmark": "recovery", "trainer": args.trainer, "lease_s": 10}
    if real:
        result["import_torch_s"] = round(statistics.median(import_s() for _ in range(3)), 2)
    for fault, of_peer in FAULTS.items():
        known, again = zip(*(recovered(fault, real=real) for _ in range(args.repeats)), strict=True)
        result[fault] = {
            "known_s": round(statistics.median(known), 2),
            "again_s": round(statistics.median(again), 2),
        }
        ray = peer.answer(python, "ray_actor.py", of_peer) if python else None
        if ray:
            result[fault]["ray"] = ray
            result[fault]["ratio"] = round(statistics.median(again) / ray["again_s"], 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
