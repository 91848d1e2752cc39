"""Servers that benchmarks call: the orchestrator without islands of its own, and a bare one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import grpc

from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.types import Assignment, JobSpec, Lease, Role, Submission
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from orchestrator.fleet.state import Policy
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore

RUN = "benchmark"
TERM_S = 600.0
_AT_ONCE = 1000


@contextmanager
def running(program: Callable[[str, Any], None], database: str) -> Iterator[tuple[str, int]]:
    """Inside, a program serves in a process of its own; its address and process."""
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=program, args=(database, theirs))
    server.start()
    assert server.pid
    try:
        yield ours.recv(), server.pid
    finally:
        ours.send(None)
        server.join()


def orchestrator(database: str, ends: Any) -> None:
    """The fleet's service on a database."""
    with closing(SqlStore(database)) as store, ExitStack() as leading:
        if store.leadership:
            store.leadership.take(RUN)
            leading.enter_context(store.leadership.kept())
        policy = Policy(term_s=TERM_S, max_failures=5, backoff_s=1.0)
        server, address = start_server(
            FleetService(store, policy, SystemClock()), "127.0.0.1:0", RUN
        )
        ends.send(address)
        ends.recv()
        server.stop(grace=None).wait()


def bare(_: str, ends: Any) -> None:
    """The least that answers the calls of islands."""

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
    server.stop(grace=None).wait()


def leased(address: str, first: int, last: int) -> list[Lease]:
    """A job and an island each, numbered from ``first`` to before ``last``."""
    with ControlClient(address, RUN) as client:
        for begin in range(first, last, _AT_ONCE):
            numbers = range(begin, min(begin + _AT_ONCE, last))
            specs = [JobSpec(f"expert-{n}", Role.EXPERT, n, "run", 10**9, "d") for n in numbers]
            client.submit([Submission(spec) for spec in specs])
        answers = [client.acquire(f"island-{n}", f"r{n}") for n in range(first, last)]
    return [answer.lease for answer in answers if isinstance(answer, Assignment)]


def made_up(num: int) -> list[Lease]:
    """Leases nobody granted, for a server that does not look."""
    return [Lease(f"expert-{n}", f"island-{n}", 1, TERM_S) for n in range(num)]
