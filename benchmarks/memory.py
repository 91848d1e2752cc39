"""What an island costs in the orchestrator's memory.

    python benchmarks/memory.py [--islands 1000 5000 10000]

Resident memory of a serving orchestrator on SQLite before any island, and with so many, each of
which has a job, holds its lease and has sent three heartbeats. Baseline, where scripts/peers has
brought it: torchft's lighthouse with as many replicas that have done the same. Prints one JSON
line.
"""

from __future__ import annotations

import argparse
import json

import peer
import psutil
from databases import database
from heartbeats import Islands, Replicas, Voice
from servers import leased, orchestrator, running

BEATS = 3


def resident_mib(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


def beat(voice: Voice, num_islands: int) -> None:
    for number in range(BEATS * num_islands):
        voice.beat(number)
    voice.close()


def of_orchestrator(sizes: list[int]) -> list[float]:
    """Memory before any island, and with each number of them."""
    with database("sqlite") as url, running(orchestrator, url) as (address, pid):
        found, num = [resident_mib(pid)], 0
        for size in sizes:
            leases = leased(address, num, size)
            beat(Islands(address, leases), len(leases))
            found.append(resident_mib(pid))
            num = size
    return found


def of_lighthouse(sizes: list[int], peers: argparse.Namespace) -> list[float]:
    python = peer.interpreter("torchft", peers.peers)
    if python is None:
        return []
    with peer.lighthouse(python) as (address, pid):
        found, num = [resident_mib(pid)], 0
        for size in sizes:
            names = [f"island-{number}" for number in range(num, size)]
            beat(Replicas(address, names), len(names))
            found.append(resident_mib(pid))
            num = size
    return found


def per_thousand(found: list[float], sizes: list[int]) -> list[float]:
    return [
        round(1000 * (with_ - found[0]) / size, 2)
        for with_, size in zip(found[1:], sizes, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--islands", type=int, nargs="+", default=[1000, 5000, 10_000])
    peer.add_option(parser)
    args = parser.parse_args()
    sizes = sorted(args.islands)
    ours, lighthouse = of_orchestrator(sizes), of_lighthouse(sizes, args)
    result = {
        "benchmark": "memory",
        "islands": sizes,
        "empty_mib": round(ours[0], 1),
        "mib_per_1000": per_thousand(ours, sizes),
    }
    if lighthouse:
        result["lighthouse_empty_mib"] = round(lighthouse[0], 1)
        result["lighthouse_mib_per_1000"] = per_thousand(lighthouse, sizes)
        ratio = (ours[-1] - ours[0]) / (lighthouse[-1] - lighthouse[0])
        result["ratio"] = round(ratio, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
