"""The engine of the service against simpler ways to serve the same trace with the same weights.

    OMP_NUM_THREADS=1 python benchmarks/batching.py [--size digits|small] [--alike]

Baseline: a serial loop, one request at a time by the plain sampler. Beside it: request batching,
where those that wait and are drawn alike run together from noise to image; step batching, which is
the engine with experts that are asked about one row at a time; the engine itself, whose rows are
grouped by expert; and, where scripts/peers has brought diffusers, a loop of its transformer and
scheduler that has one expert's weights and no router to run.

Requests are for one image, at random of 8, 12 or 16 steps of Euler, with guidance 2 or without
(with --alike all of 12 steps without), by top-1 of 8 experts. They arrive as a Poisson process at
0.8, 1.5 and 2.5 times what the serial loop can serve, and, for saturation, all at once. All ways
share a thread, and time is what the processor gives that thread: waiting takes none.
Beside that: the ensemble against one model of an expert's size, both by the engine, and the engine
with fewer experts in memory than there are, by the wall clock. Prints one JSON line.
"""

import argparse
import copy
import json
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peer
import torch
from diffusers_peer import diffusers_s
from safetensors.torch import load_file, save_file
from served import NUM_EXPERTS, SIZES, arriving, drawn_from, requests_of
from ways import CPU, Arrivals, ByRequest, BySteps, Drawn, Serial, Way, played, ungrouped

from atoll.clock import SystemClock
from experts.flow import VelocityField
from router.gate import uniform_gate
from serving.bench.tally import Answer, Tally, tallied
from serving.engine.request import Request
from serving.engine.tick import Came, Left, Tick
from serving.memory.host import HostMemory
from serving.memory.residency import Residency
from serving.memory.shelf import Shelf
from serving.memory.source import Source, Weights

LOADS = {"0.8": 0.8, "1.5": 1.5, "2.5": 2.5, "saturated": math.inf}


def in_line(arrivals: Arrivals, seconds: Sequence[float]) -> list[Answer]:
    """One request at a time, each taking so long."""
    now, answers = 0.0, []
    for (at_s, _), taken_s in zip(arrivals, seconds, strict=True):
        now = max(now, at_s) + taken_s
        answers.append(Answer(at_s, at_s, now, 1))
    return answers


def rounded(tally: Tally, serial: Tally) -> dict[str, float]:
    assert tally.p50_s is not None
    assert tally.p95_s is not None
    assert serial.p95_s is not None
    return {
        "images_per_s": round(tally.images_per_s, 1),
        "p50_s": round(tally.p50_s, 4),
        "p95_s": round(tally.p95_s, 4),
        "ratio": round(tally.images_per_s / serial.images_per_s, 2),
        "p95_ratio": round(tally.p95_s / serial.p95_s, 2),
    }


def compared(
    drawn: Drawn, requests: Sequence[Request], repeats: int, python: Path | None
) -> dict[str, Any]:
    """All ways at all loads; the median of their ratios to the serial loop beside them counts."""
    ways: dict[str, Callable[[Drawn], Way]] = {
        "serial": Serial,
        "request_batching": ByRequest,
        "step_batching": ungrouped,
        "step_batching_by_expert": BySteps,
    }
    at_once = arriving(requests, math.inf)
    for way in ways.values():
        played(way(drawn), at_once[:8])  # warms up
    rate = tallied(played(Serial(drawn), at_once), math.inf).images_per_s
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(repeats):
        peers_s = python and diffusers_s(drawn, requests, python)
        for load, times in LOADS.items():
            arrivals = arriving(requests, times * rate)
            tallies = {
                name: tallied(played(way(drawn), arrivals), math.inf) for name, way in ways.items()
            }
            if peers_s:
                tallies["diffusers_one_expert"] = tallied(in_line(arrivals, peers_s), math.inf)
            for name, tally in tallies.items():
                row = rounded(tally, tallies["serial"])
                found.setdefault(load, {}).setdefault(name, []).append(row)
    return {
        "serial_capacity_images_per_s": round(rate, 1),
        "loads": {
            load: {name: medians(rows) for name, rows in ways_.items()}
            for load, ways_ in found.items()
        },
    }


def medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(row[key] for row in rows), 4) for key in rows[0]}


def against_one(drawn: Drawn, requests: Sequence[Request], repeats: int) -> dict[str, float]:
    """The ensemble and one of its experts alone, both by the engine at saturation."""
    one = Drawn(drawn.experts[:1], uniform_gate(1, CPU), drawn.conditioning, drawn.shape)
    arrivals = arriving(requests, math.inf)
    rows = []
    for _ in range(repeats):
        speeds = [
            tallied(played(BySteps(it), arrivals), math.inf).images_per_s for it in (one, drawn)
        ]
        rows.append({"one_images_per_s": speeds[0], "ensemble_images_per_s": speeds[1]})
        rows[-1]["ratio"] = speeds[1] / speeds[0]
    return medians(rows)


def resident(drawn: Drawn, requests: Sequence[Request], num: int) -> dict[str, float]:
    """The engine with room for so many experts; the others are read from disk when wanted."""
    bell, loads, calls = threading.Event(), list[int](), list[int]()

    def watch(told: Tick | Came | Left) -> None:
        if isinstance(told, Came):
            loads.append(told.expert)
        if isinstance(told, Tick):
            calls.append(sum(rows > 0 for rows in told.rows))

    with tempfile.TemporaryDirectory() as folder:
        sources = [source_of(k, drawn.experts[k], Path(folder)) for k in range(NUM_EXPERTS)]
        room_bytes = num * sources[0].num_bytes
        residency = Residency(room_bytes, HostMemory(0, CPU), bell, SystemClock(), watch)
        way = BySteps(drawn, Shelf(residency, sources), bell, watch)
        try:
            answers = played(way, arriving(requests, math.inf), time.perf_counter)
        finally:
            residency.close()
    speed = tallied(answers, math.inf).images_per_s
    return {"images_per_s": speed, "hit_rate": 1 - len(loads) / sum(calls)}


def source_of(number: int, expert: torch.nn.Module, folder: Path) -> Source:
    """An expert in a file; the network around its weights is made when it comes."""
    path = folder / f"{number}.safetensors"
    save_file(expert.state_dict(), path)
    empty = copy.deepcopy(expert).to("meta")

    def build(weights: Weights) -> VelocityField:
        network = copy.deepcopy(empty)
        network.load_state_dict(weights, assign=True)
        return network.eval()

    return Source(str(number), number, "", path.stat().st_size, lambda: load_file(path), build)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="digits")
    parser.add_argument("--alike", action="store_true")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    peer.add_option(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    python = peer.interpreter("diffusers", arguments.peers)
    drawn = drawn_from(arguments.size)
    requests = requests_of(arguments.images, alike=arguments.alike)
    settings = {"size": arguments.size, "alike": arguments.alike, "images": arguments.images}
    result = {"benchmark": "batching", **settings, "cores": os.cpu_count()}
    result |= compared(drawn, requests, arguments.repeats, python)
    result["against_one_expert"] = against_one(drawn, requests, arguments.repeats)
    turns = [
        {num: resident(drawn, requests, num) for num in (2, 4, NUM_EXPERTS)}
        for _ in range(arguments.repeats)
    ]
    result["resident"] = {num: medians([turn[num] for turn in turns]) for num in turns[0]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
