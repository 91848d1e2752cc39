"""Heartbeats and durable commits a second of one orchestrator, with 1,000 islands.

    python benchmarks/heartbeats.py [--database sqlite|postgres] [--islands 1000] [--clients 8]

The orchestrator serves from a process of its own; the clients share another. Each client beats for
its islands in turn and commits a checkpoint with every hundredth beat, which is on the disk when it
is answered. Baseline, from the same clients: a bare gRPC server that keeps nothing and gives one
fixed answer. Beside them, where scripts/peers has brought them: torchft's lighthouse, which keeps
all in memory, called by as many gRPC clients; and Flower's link state on SQLite, called by as many
threads of its own process. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
import peer
import psutil
from databases import KINDS, database
from servers import RUN, bare, leased, made_up, orchestrator, running

from atoll import layout
from atoll.control import ControlClient
from atoll.types import CheckpointRef, Lease, Progress

COMMIT_EVERY = 100


class Voice(Protocol):
    """Some islands, as one client speaks for them."""

    def beat(self, number: int) -> None:
        """One heartbeat, of one island after the other."""

    def commit(self, number: int) -> bool:
        """Commit a checkpoint of the same island, if anybody keeps it."""

    def close(self) -> None:
        """Hang up."""


class Islands:
    """Islands with leases."""

    def __init__(self, address: str, leases: Sequence[Lease]) -> None:
        self._leases = leases
        self._client = ControlClient(address, RUN)
        self.close = self._client.close

    def beat(self, number: int) -> None:
        """See :class:`Voice`."""
        self._client.heartbeat(self._lease(number), Progress(number, 1.0, 1.0))

    def commit(self, number: int) -> bool:
        """See :class:`Voice`."""
        lease = self._lease(number)
        key = layout.checkpoint_folder(lease.job, lease.epoch, number)
        self._client.commit(lease, CheckpointRef(key, "d", number, lease.epoch))
        return True

    def _lease(self, number: int) -> Lease:
        return self._leases[number % len(self._leases)]


class Replicas:
    """Replicas of torchft, which have nothing to commit."""

    def __init__(self, address: str, names: Sequence[str]) -> None:
        # One field, a string: the name's tag, length and bytes.
        self._messages = [b"\x0a" + bytes([len(name)]) + name.encode() for name in names]
        own = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each client, as ours have
        channel = grpc.insecure_channel(address, options=own)
        self._call = channel.unary_unary("/torchft.LighthouseService/Heartbeat")
        self.close = channel.close

    def beat(self, number: int) -> None:
        """See :class:`Voice`."""
        self._call(self._messages[number % len(self._messages)], timeout=10)

    def commit(self, _: int) -> bool:
        """See :class:`Voice`."""
        return False


class Client(threading.Thread):
    """Beats for some islands until its time is over."""

    def __init__(self, voice: Voice, seconds: float) -> None:
        super().__init__()
        self.beats: list[float] = []
        self.commits: list[float] = []
        self._voice, self._seconds = voice, seconds

    def run(self) -> None:
        """Note what each call took, seconds."""
        stop_at, number = time.perf_counter() + self._seconds, 0
        while (begin := time.perf_counter()) < stop_at:
            number += 1
            self._voice.beat(number)
            self.beats.append(time.perf_counter() - begin)
            if number % COMMIT_EVERY == 0:
                begin = time.perf_counter()
                if self._voice.commit(number):
                    self.commits.append(time.perf_counter() - begin)
        self._voice.close()


def beaten(voices: Sequence[Voice], seconds: float) -> dict[str, Any]:
    """Beat with all voices at once, as fast as they are answered."""
    clients = [Client(voice, seconds) for voice in voices]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    found = figures("heartbeat", [value for each in clients for value in each.beats], seconds)
    commits = [value for each in clients for value in each.commits]
    return found | (figures("commit", commits, seconds) if commits else {})


def figures(what: str, took: list[float], seconds: float) -> dict[str, Any]:
    ordered = sorted(took)
    return {
        f"{what}s_per_s": round(len(took) / seconds, 1),
        f"{what}_p50_ms": round(1000 * ordered[len(ordered) // 2], 2),
        f"{what}_p99_ms": round(1000 * ordered[int(0.99 * len(ordered))], 2),
    }


def of_orchestrator(args: argparse.Namespace) -> dict[str, Any]:
    with database(args.database) as url, running(orchestrator, url) as (address, pid):
        leases = leased(address, 0, args.islands)
        voices = [Islands(address, leases[n :: args.clients]) for n in range(args.clients)]
        found = beaten(voices, args.seconds)
        return found | {"server_mib": round(psutil.Process(pid).memory_info().rss / 2**20)}


def of_bare_server(args: argparse.Namespace) -> dict[str, Any]:
    leases = made_up(args.islands)
    with running(bare, "") as (address, _):
        voices = [Islands(address, leases[n :: args.clients]) for n in range(args.clients)]
        return beaten(voices, args.seconds)


def of_lighthouse(args: argparse.Namespace) -> dict[str, Any]:
    python = peer.interpreter("torchft", args.peers)
    if python is None:
        return {}
    names = [f"island-{n}" for n in range(args.islands)]
    with peer.lighthouse(python) as (address, _):
        voices = [Replicas(address, names[n :: args.clients]) for n in range(args.clients)]
        return beaten(voices, args.seconds)


def of_flower(args: argparse.Namespace) -> dict[str, Any]:
    python = peer.interpreter("flwr", args.peers)
    if python is None:
        return {}
    sizes = [str(size) for size in (args.islands, args.clients, args.seconds)]
    with tempfile.TemporaryDirectory() as folder:
        took = peer.answer(python, "flower.py", folder, *sizes)
    return figures("heartbeat", took, args.seconds) if took else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--islands", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    peer.add_option(parser)
    args = parser.parse_args()
    ours, least = of_orchestrator(args), of_bare_server(args)
    result = {
        "benchmark": "heartbeats",
        "database": args.database,
        "islands": args.islands,
        "clients": args.clients,
        "cores": os.cpu_count(),
        **ours,
        "bare": least,
        "lighthouse": of_lighthouse(args),
        "flower": of_flower(args),
    }
    for name in ("bare", "lighthouse", "flower"):
        if result[name]:
            ratio = ours["heartbeats_per_s"] / result[name]["heartbeats_per_s"]
            result[f"ratio_to_{name}"] = round(ratio, 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
