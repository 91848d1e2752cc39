"""How long a restarted orchestrator takes from exec to its first answer, with much stored.

    python benchmarks/restart.py [--database sqlite|postgres] [--jobs 10000] [--events 1000000]

Every tenth job is leased, to an island whose heartbeat is the first call. Between two starts the
orchestrator is killed, and with PostgreSQL its term as leader is waited for. Baseline: a process
with a bare gRPC server that keeps nothing and answers the same call. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa
from databases import KINDS, database

from atoll import layout
from atoll.blobs import make_place, open_store
from atoll.config import Config
from atoll.config_file import read_config, save_config
from atoll.control import ControlClient
from atoll.types import (
    CheckpointRecord,
    CheckpointRef,
    Event,
    JobSpec,
    JobState,
    Lease,
    Progress,
    Role,
)
from cluster import processes
from orchestrator.fleet.state import Change, Job, Policy
from orchestrator.naming import name_of
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import database_url

REPEATS = 5
TERM_AS_LEADER_S = 6.0
BARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from atoll.wire.v1 import control_pb2 as wire, control_pb2_grpc as rpc

class Bare(rpc.IslandsServicer):
    def Heartbeat(self, request, context):
        return wire.HeartbeatResponse(directive=wire.DIRECTIVE_CONTINUE)

server = grpc.server(ThreadPoolExecutor(32))
rpc.add_IslandsServicer_to_server(Bare(), server)
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"""


def job(number: int) -> Job:
    """The job of a number: every tenth is leased, all have a checkpoint."""
    name = layout.expert_job(number)
    key = layout.checkpoint_folder(name, 1, 100)
    waiting = Job(
        JobSpec(name, Role.EXPERT, number, "run", 10**6, "digest"),
        epoch=1,
        checkpoint=CheckpointRef(key, "digest", 100, 1),
        reason="it was silent for 10 s",
    )
    island = f"island-{number}"
    leased = replace(waiting, state=JobState.LEASED, island=island, reason=f"granted to {island}")
    return waiting if number % 10 else leased


def fill(url: str, num_jobs: int, num_events: int) -> None:
    """Store as many jobs and events, by way of the store."""
    store = SqlStore(url)
    if store.leadership:
        store.leadership.take("filling")
    made = [job(number) for number in range(num_jobs)]
    published = tuple(
        CheckpointRecord(each.spec.name, each.checkpoint) for each in made if each.checkpoint
    )
    store.save(Change(jobs=tuple(made), checkpoints=published), 1, time.time())
    stored = 0
    while stored < num_events:
        num = min(50_000, num_events - stored)
        told = [made[number % num_jobs].spec.name for number in range(stored, stored + num)]
        said = tuple(
            Event("checkpoint-committed", "step 100 is safe", name, "", 1) for name in told
        )
        store.save(Change(events=said), stored + 1, time.time())
        stored += num
    store.close()
    engine = sa.create_engine(url)
    if not url.startswith("sqlite"):
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM leader")
    engine.dispose()


def first_answer_s(command: list[str], address: str, run: str, lease: Lease) -> float:
    """Start a server, call it once, and kill it."""
    begin = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host, _, port = address.rpartition(":")
        while True:
            assert server.poll() is None, "it ended"
            try:
                socket.create_connection((host, int(port))).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.002)
        with ControlClient(address, run) as client:
            client.heartbeat(lease, Progress(150, 1.0, 1.0))
        return time.perf_counter() - begin
    finally:
        server.kill()
        server.wait()


@contextmanager
def filled(args: argparse.Namespace) -> Iterator[Config]:
    """Inside, a run with much in its database."""
    with database(args.database) as url, tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        settings = [f"run.uri={folder}/run", f"orchestrator.listen={listen}", "island.count=1"]
        config = read_config(None, [*settings, f"orchestrator.database={url}"])
        make_place(config.run.uri)
        save_config(open_store(config.run.uri), config)
        fill(database_url(config), args.jobs, args.events)
        yield config


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    args = parser.parse_args()
    policy = Policy(term_s=10.0, max_failures=5, backoff_s=1.0)
    lease = job(0).lease(policy)
    ours, bare = [], []
    with filled(args) as config:
        folder = layout.state_folder(config.run.uri)
        folder.mkdir(parents=True, exist_ok=True)
        run, address = name_of(config), config.orchestrator.listen
        serve = [sys.executable, "-P", "-m", "atoll", "orchestrator", "--run-uri", config.run.uri]
        for _ in range(REPEATS):  # interleaved, so that both meet the same neighbours
            bare.append(first_answer_s([sys.executable, "-c", BARE, address], address, run, lease))
            ours.append(first_answer_s(serve, address, run, lease))
            processes.kill(processes.working_in(folder))  # the island it has started
            if args.database == "postgres":
                time.sleep(TERM_AS_LEADER_S)
    result = {
        "benchmark": "restart",
        "database": args.database,
        "jobs": args.jobs,
        "leases": (args.jobs + 9) // 10,
        "events": args.events,
        "first_answer_s": round(statistics.median(ours), 2),
        "bare_s": round(statistics.median(bare), 2),
        "ratio": round(statistics.median(ours) / statistics.median(bare), 2),
        "repeats": REPEATS,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
