"""Heartbeats and durable commits a second of one orchestrator, with 1,000 islands.

    python benchmarks/heartbeats.py [--islands 1000] [--clients 8] [--seconds 10]

The orchestrator serves from a process of its own, on SQLite; the clients share another. Each client
beats for its islands in turn and commits a checkpoint with every hundredth beat, which is on the
disk when it is answered. Baseline, from the same clients: a bare gRPC server that keeps nothing and
gives one fixed answer. Prints one JSON line.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from atoll import layout
from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.types import Assignment, CheckpointRef, JobSpec, Lease, Progress, Role, Submission
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from orchestrator.database import sqlite_url
from orchestrator.fleet import Policy
from orchestrator.server import start_server
from orchestrator.service import FleetService
from orchestrator.sql_store import SqlStore

RUN = "benchmark"


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


def serve_bare(folder: str, ends: Any) -> None:  # noqa: ARG001 - it keeps nothing
    """The least that answers such calls."""

    class Bare(rpc.IslandsServicer):
        def Heartbeat(self, *_: Any) -> wire.HeartbeatResponse:  # noqa: N802
            return wire.HeartbeatResponse(directive=wire.DIRECTIVE_CONTINUE)

        def Commit(self, *_: Any) -> wire.CommitResponse:  # noqa: N802
            return wire.CommitResponse()

    server = grpc.server(ThreadPoolExecutor(32))
    rpc.add_IslandsServicer_to_server(Bare(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ends.send(f"127.0.0.1:{port}")
    ends.recv()
    ends.send(0)
    server.stop(grace=None).wait()


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


def leased(address: str, num: int) -> list[Lease]:
    """A job and an island each."""
    specs = [JobSpec(f"expert-{n}", Role.EXPERT, n, "run", 10**9, "d") for n in range(num)]
    with ControlClient(address, RUN) as client:
        client.submit([Submission(spec) for spec in specs])
        answers = [client.acquire(f"island-{n}", f"r{n}") for n in range(num)]
    return [answer.lease for answer in answers if isinstance(answer, Assignment)]


def made_up(_: str, num: int) -> list[Lease]:
    """Leases nobody granted, for a server that does not look."""
    return [Lease(f"expert-{n}", f"island-{n}", 1, 600.0) for n in range(num)]


def measured(program: Any, leases_of: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Serve by a program in a process of its own, and beat as fast as it answers."""
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    ours, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        server = spawn.Process(target=program, args=(folder, theirs))
        server.start()
        address = ours.recv()
        leases = leases_of(address, args.islands)
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
    return {
        "heartbeats_per_s": round(len(beats) / args.seconds),
        "heartbeat_p50_ms": quantile_ms(beats, 0.5),
        "heartbeat_p99_ms": quantile_ms(beats, 0.99),
        "commits_per_s": round(len(commits) / args.seconds, 1),
        "commit_p50_ms": quantile_ms(commits, 0.5),
        "commit_p99_ms": quantile_ms(commits, 0.99),
        "server_mib": round(memory_bytes / 2**20),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--islands", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    bare = measured(serve_bare, made_up, args)
    ours = measured(serve, leased, args)
    result = {
        "benchmark": "heartbeats",
        "islands": args.islands,
        "clients": args.clients,
        "cores": os.cpu_count(),
        **ours,
        "bare_per_s": bare["heartbeats_per_s"],
        "ratio": round(ours["heartbeats_per_s"] / bare["heartbeats_per_s"], 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
