"""From a signal to an island until it is known, and until its job trains again.

    python benchmarks/recovery.py [--trainer fake|real] [--inside] [--repeats 3]

A run of two islands with the default lease of 10 s; the trainer or the agent of one is killed, or
its agent frozen. It is known once the orchestrator says so in an event, and trains again once the
first checkpoint after it is committed. The fake trainer of the tests starts at once; with the real
one, the import of torch is measured beside it. Baseline, where scripts/peers has brought it: an
actor of Ray with its defaults whose process or node meets the same.

With --inside, what an island of two processes comes over by itself, one after the other: the second
process killed, frozen, or without memory for what it wants next, and the copies of its shards
damaged while they are read. Baseline: the island's first start, from its lease to its first
checkpoint. Prints one JSON line.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import peer
import psutil

from atoll import layout, stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import read_config
from atoll.partitioned import partition_inputs
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
INSIDE = {  # with what is told of them
    "rank-killed": "rank 1 was killed by signal 9",
    "rank-frozen": "rank 1 of 2 gave no sign of life",
    "memory-short": "no memory left",
    "copies-damaged": "makes no sense on this machine",
}
# A batch so small that samples are left to be read for the first time.
PAIR = [
    *("partition.num_experts=1", "island.count=1", "island.processes=2", "island.hang_s=10"),
    *("training.batch_size=2", "cache.copy_always=true"),
]


class Run:
    """A run at work."""

    def __init__(self, folder: str, *, real: bool, more: Sequence[str] = ()) -> None:
        places = [f"run.uri={folder}/run", f"cache.folder={folder}/cache"]
        self._settings = [*places, *SETTINGS, *(TINY if real else []), *more]
        self.config: Config = read_config(None, self._settings)
        self.folder = layout.state_folder(self.config.run.uri)
        if real:
            subprocess.run(self._atoll("partition"), check=True, capture_output=True)
            command = self._atoll("train")
        else:
            made = {"digest": "p", "shape": [8, 8, 1], "class_names": ["a"], "has_captions": False}
            made["num_without_caption"] = 0
            made["buckets"] = []
            made["shard_sets"] = [{"num_samples": 9}] * 2
            inputs = partition_inputs(self.config)
            stages.finish(open_store(self.config.run.uri), "partition", inputs, made)
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

    def strike(self, fault: str, island: str) -> float:
        """Let a fault befall an island; when that was, by the time of day."""
        begin = time.time()
        if fault == "copies-damaged":
            for path in Path(self.config.cache.folder, "copies").iterdir():
                path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDOT"))
        elif fault == "memory-short":
            self._victim(fault, island).rlimit(psutil.RLIMIT_AS, (1, 1))
        else:
            is_frozen = fault.endswith("frozen")
            number = signal.SIGSTOP if is_frozen else signal.SIGKILL
            self._victim(fault, island).send_signal(number)
        return begin

    def _victim(self, fault: str, island: str) -> psutil.Process:
        """The process that a fault befalls."""
        record = state_file.read(islands_folder(self.config) / island / "node.json")
        assert record
        agent = ProcessId(**record["process"]).find()
        assert agent
        if fault.startswith("agent"):
            return agent
        (trainer,) = agent.children()
        if fault == "trainer-killed":
            return trainer
        return next(rank for rank in trainer.children() if rank.environ().get("RANK") == "1")

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
def at_work(*, real: bool, more: Sequence[str] = ()) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, real=real, more=more)
        try:
            yield run
        finally:
            run.stop()


def recovered(fault: str, *, real: bool) -> tuple[float, float]:
    """Seconds from a fault until it is known, and until the job trains again."""
    with at_work(real=real) as run:
        trains = run.first(0, lambda event: event.kind == "checkpoint-committed")
        time.sleep(3)  # until both islands have settled
        begin = run.strike(fault, trains.island)
        lost = run.first(trains.number, lambda event: event.kind in LOST)
        again = run.first(lost.number, lambda event: event.kind == "checkpoint-committed")
        assert again.epoch > trains.epoch or lost.kind == "trainer-restarted"
        return lost.at - begin, again.at - begin


def recovered_inside(repeats: int) -> dict[str, Any]:
    """What an island of two processes takes to start, and over each fault, seconds."""
    with at_work(real=True, more=PAIR) as run:
        granted = run.first(0, lambda event: event.kind == "lease-granted")
        trains = run.first(granted.number, lambda event: event.kind == "checkpoint-committed")
        start_s = trains.at - granted.at
        result: dict[str, Any] = {"baseline": "its first start", "start_s": round(start_s, 2)}
        for fault, words in INSIDE.items():
            times = []
            for _ in range(repeats):
                begin = run.strike(fault, trains.island)
                lost = run.first(trains.number, lambda event: event.kind in LOST)
                assert words in lost.reason, lost
                trains = run.first(lost.number, lambda event: event.kind == "checkpoint-committed")
                times.append((lost.at - begin, trains.at - begin))
            result[fault] = told(times)
            result[fault]["ratio"] = round(result[fault]["again_s"] / start_s, 3)
        return result


def told(times: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The middle of seconds until a fault is known, and until the job trains again."""
    known, again = zip(*times, strict=True)
    return {
        "known_s": round(statistics.median(known), 2),
        "again_s": round(statistics.median(again), 2),
    }


def import_s() -> float:
    """How long a process takes to import torch and end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trainer", choices=["fake", "real"], default="fake")
    parser.add_argument("--inside", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    peer.add_option(parser)
    args = parser.parse_args()
    if args.inside:
        result: dict[str, Any] = {"benchmark": "recovery", "trainer": "real", "hang_s": 10}
        print(json.dumps(result | recovered_inside(args.repeats)))
        return
    real, python = args.trainer == "real", peer.interpreter("ray", args.peers)
    result = {"benchmark": "recovery", "trainer": args.trainer, "lease_s": 10}
    if real:
        result["import_torch_s"] = round(statistics.median(import_s() for _ in range(3)), 2)
    for fault, of_peer in FAULTS.items():
        result[fault] = told([recovered(fault, real=real) for _ in range(args.repeats)])
        ray = peer.answer(python, "ray_actor.py", of_peer) if python else None
        if ray:
            result[fault]["ray"] = ray
            result[fault]["ratio"] = round(result[fault]["again_s"] / ray["again_s"], 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
