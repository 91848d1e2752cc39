"""From 1,000 jobs submitted to 1,000 leased islands, on a provider that only answers.

    python benchmarks/submission.py [--islands 1000] [--answer-s 0.05]

The orchestrator's own parts start islands through a provider whose every call takes so long, as
those of clouds do; each node it is asked for calls at once and acquires a lease, from another
process and over gRPC. Then they beat, while the orchestrator looks at all of them as ever.
Baseline, the provider's floor: the same calls to it, as many at once, and nothing else. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from servers import RUN, TERM_S

from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.types import Assignment, JobSpec, Progress, Role, Submission
from cluster.background import Background
from cluster.provider import Capabilities, Node, NodeSpec
from orchestrator.fleet.recovery import RecoveryPolicy
from orchestrator.fleet.state import Policy
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import sqlite_url
from orchestrator.supervisor import Supervisor

LOOK_S = 0.2
AT_ONCE = 16  # calls, as many as the background makes
STEADY_LOOKS = 25


class Scripted:
    """A provider that takes its time, and whose nodes speak as soon as they are asked for."""

    def __init__(self, answer_s: float, begin: Callable[[str], None]) -> None:
        self._answer_s, self._begin = answer_s, begin
        self._nodes: dict[str, Node] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities(num_gpus=0)

    def validate(self, spec: NodeSpec) -> None: ...

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        time.sleep(self._answer_s)
        node = self._nodes[spec.island] = Node(spec.island, alive=True)
        self._begin(spec.island)
        return node

    def list(self, label: str) -> tuple[Node, ...]:
        time.sleep(self._answer_s)
        return tuple(self._nodes.values())

    def logs(self, island: str, num_lines: int) -> str:
        return ""

    def cancel(self, island: str) -> None: ...


def islands(address: str, named: Any, told: Any) -> None:
    """Each island acquires once, then all beat in turn; a program of a process of its own."""
    leases, lock = [], threading.Lock()

    def work() -> None:
        with ControlClient(address, RUN) as client:
            while (name := named.get()) is not None:
                answer = client.acquire(name, f"r-{name}")
                assert isinstance(answer, Assignment)
                with lock:
                    leases.append(answer.lease)
                told.put(name)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with ControlClient(address, RUN) as client:
        for number in range(10**9):
            try:
                client.heartbeat(leases[number % len(leases)], Progress(1, 1.0, 1.0))
            except Exception:
                return


def orchestrated(num: int, answer_s: float) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    named, told = spawn.Queue(), spawn.Queue()
    with tempfile.TemporaryDirectory() as folder, closing(open_store(folder)) as store:
        clock = SystemClock()
        policy = Policy(term_s=TERM_S, max_failures=5, backoff_s=1.0)
        service = FleetService(store, policy, clock)
        server, address = start_server(service, "127.0.0.1:0", RUN)
        speaking = spawn.Process(target=islands, args=(address, named, told))
        speaking.start()
        specs = [JobSpec(f"expert-{n}", Role.EXPERT, n, "run", 10**9, "d") for n in range(num)]
        service.submit([Submission(spec) for spec in specs])
        provider = Background(Scripted(answer_s, named.put), RUN, 2.0, clock)
        recovery = RecoveryPolicy(
            num_islands=num, max_tries=5, backoff_s=1.0, young_s=TERM_S, orphan_s=600.0
        )
        spec_of = lambda name: NodeSpec(name, RUN, (), num_gpus=0)  # noqa: E731
        supervisor = Supervisor(service, provider, spec_of, recovery, clock)
        begin, first_look_s = time.perf_counter(), 0.0
        while service.fleet.jobs.num_open and told.qsize() < num:
            look = time.perf_counter()
            supervisor.look()
            first_look_s = max(first_look_s, time.perf_counter() - look)
            time.sleep(LOOK_S)
        all_leased_s = time.perf_counter() - begin
        for _ in range(8):
            named.put(None)
        looks = []
        for _ in range(STEADY_LOOKS):
            time.sleep(LOOK_S)
            look = time.perf_counter()
            supervisor.look()
            looks.append(time.perf_counter() - look)
        rss = psutil.Process().memory_info().rss
        server.stop(grace=None).wait()
        speaking.join()
    return {
        "all_leased_s": round(all_leased_s, 2),
        "longest_look_s": round(first_look_s, 3),
        "steady_look_ms": round(1000 * statistics.median(looks), 1),
        "orchestrator_mib": round(rss / 2**20),
    }


def open_store(folder: str) -> SqlStore:
    return SqlStore(sqlite_url(Path(folder) / "fleet.db"))


def floor_s(num: int, answer_s: float) -> float:
    """The provider's own: all calls that start its nodes."""
    provider = Scripted(answer_s, lambda _: None)
    begin = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(num):
            spec = NodeSpec(f"island-{number}", RUN, (), num_gpus=0)
            pool.submit(provider.submit, spec, spec.island)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--islands", type=int, default=1000)
    parser.add_argument("--answer-s", type=float, default=0.05)
    args = parser.parse_args()
    found, least = orchestrated(args.islands, args.answer_s), floor_s(args.islands, args.answer_s)
    result = {
        "benchmark": "submission",
        "islands": args.islands,
        "answer_s": args.answer_s,
        "cores": os.cpu_count(),
        **found,
        "floor_s": round(least, 2),
        "ratio_to_floor": round(found["all_leased_s"] / least, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
