"""Heartbeats and durable commits a second of one orchestrator, with 1,000 islands.

    python benchmarks/heartbeats.py [--islands 1000] [--clients 8] [--seconds 10]

The orchestrator serves from a process of its own, on SQLite; the clients share another. Each client
beats for its islands in turn and commits a checkpoint with every hundredth beat, which is on the
disk when it is answered. Prints one JSON line. Figures to hold it against: torchft's lighthouse, an
in-memory server in Rust, takes about 3,000 heartbeats a second from 32 clients on such a machine;
Flower's SQLite link state takes 109 to 255.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from atoll import layout
from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.types import CheckpointRef, JobSpec, Lease, Progress, Role, Submission
from orchestrator.database import sqlite_url
from orchestrator.fleet import Policy
from orchestrator.server import start_server
from orchestrator.service import FleetService
from orchestrator.sql_store import SqlStore

RUN = "benchmark"
LIGHTHOUSE_PER_S = 3000


def serve(folder: str, ends: Any) -> None:
    """The orchestrator without islands of its own."""
    store = SqlStore(sqlite_url(Path(folder) / "orchestrator.db"))
    service = FleetService(
        store, Policy(term_s=600.0, max_failures=5, backoff_s=1.0), SystemClock()
    )
    server, address = start_server(service, "127.0.0.1:0", RUN)
    ends.send(address)
    ends.recv()
    ends.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    server.stop(grace=None).wait()
    store.close()


class Client(threading.Thread):
    """Beats for some islands until it is told to stop."""

    def __init__(self, address: str, leases: list[Lease], seconds: float) -> None:
        super().__init__()
        self.beats: list[float] = []
        self.commits: list[float] = []
        self._leases, self._seconds = leases, seconds
        self._client = ControlClient(address, RUN)

    def run(self) -> None:
        """Note what each call took, seconds."""
        stop_at, number = time.perf_counter() + self._seconds, 0
        with self._client as client:
            while time.perf_counter() < stop_at:
                lease = self._leases[number % len(self._leases)]
                number += 1
                begin = time.perf_counter()
                client.heartbeat(lease, Progress(number, 1.0, 1.0))
                self.beats.append(time.perf_counter() - begin)
                if number % 100 == 0:
                    key = layout.checkpoint_folder(lease.job, lease.epoch, number)
                    begin = time.perf_counter()
                    client.commit(lease, CheckpointRef(key, "d", number, lease.epoch))
                    self.commits.append(time.perf_counter() - begin)


def quantile_ms(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--islands", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    ours, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        server = spawn.Process(target=serve, args=(folder, theirs))
        server.start()
        address = ours.recv()
        jobs = [
            Submission(JobSpec(f"expert-{n}", Role.EXPERT, n, "run", 10**9, "d"))
            for n in range(args.islands)
        ]
        with ControlClient(address, RUN) as client:
            client.submit(jobs)
            leases = [client.acquire(f"island-{n}", f"r{n}").lease for n in range(args.islands)]
        clients = [
            Client(address, leases[n :: args.clients], args.seconds) for n in range(args.clients)
        ]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        ours.send(None)
        memory_bytes = ours.recv()
        server.join()
    beats = [value for each in clients for value in each.beats]
    commits = [value for each in clients for value in each.commits]
    per_s = len(beats) / args.seconds
    result = {
        "benchmark": "heartbeats",
        "islands": args.islands,
        "clients": args.clients,
        "cores": os.cpu_count(),
        "heartbeats_per_s": round(per_s),
        "heartbeat_p50_ms": quantile_ms(beats, 0.5),
        "heartbeat_p99_ms": quantile_ms(beats, 0.99),
        "commits_per_s": round(len(commits) / args.seconds, 1),
        "commit_p50_ms": quantile_ms(commits, 0.5),
        "commit_p99_ms": quantile_ms(commits, 0.99),
        "server_mib": round(memory_bytes / 2**20),
        "ratio_to_lighthouse": round(per_s / LIGHTHOUSE_PER_S, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
