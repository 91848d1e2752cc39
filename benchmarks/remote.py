"""The engine with experts on other machines against the engine with its own.

    OMP_NUM_THREADS=1 python benchmarks/remote.py [RUN] [--size digits|small] [--replicas 1 2]

Baseline: the same engine and requests with all experts in its process, those of a trained run, or
eight that are not trained. Beside it: servers of all of them, each a process of its own, behind 0,
20, 80 and 200 ms of delay there and back, asked about every step, or to draw up to 8 in one go.
Requests are for one image, of 12 steps of Euler, by top-1: one after the other, whose waiting
nothing hides, and 32 at a time. Last of all one of two servers is killed under load, and the time
is told until no more rows go to it. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from served import SIZES, drawn_from, requests_of
from ways import CPU, BySteps, Drawn

from atoll.blobs import open_store
from atoll.clock import SystemClock
from atoll.config_file import run_config
from atoll.expert_server_section import ExpertServerSection
from router.load import load_ensemble
from serving.engine.model import Experts
from serving.engine.request import Request
from serving.expert.conditions import Conditions
from serving.expert.evaluator import Evaluator
from serving.expert.recalling import recalling
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.experts import RemoteExpert, RemoteExperts
from serving.remote.pool import Pool
from serving.remote.rows import WIRE_TYPES
from tests.proxy import Proxy

# How numbers travel, the delay there and back, and the steps that are made in one go at most.
WAYS = [
    *(("float32", delay_ms, steps) for delay_ms in (0, 20, 80, 200) for steps in (1, 8)),
    ("bfloat16", 0, 1),
]
CLOCK = SystemClock()


def drawn_of(what: str) -> Drawn:
    """The ensemble of a run, or one of a size that is not trained."""
    if what in SIZES:
        return drawn_from(what)
    config = run_config(None, [f"run.uri={what}"])
    loaded = load_ensemble(open_store(what), config, Path(what) / "local" / "cache", CPU)
    return Drawn(list(loaded.experts), loaded.gate, loaded.conditioning, loaded.shape)


def serve(what: str, told: Connection) -> None:
    """Serve all experts, in a process of its own, until it is killed."""
    drawn = drawn_of(what)
    evaluator = Evaluator(32, 1024, CPU, CLOCK)
    experts = recalling(
        [
            ServedExpert(k, str(k), field, drawn.conditioning, (drawn.shape,))
            for k, field in enumerate(drawn.experts)
        ]
    )
    servicer = ExpertsServicer(
        "benchmark", experts, evaluator, CLOCK, lambda: False, Conditions(2**20)
    )
    server = ExpertServer(servicer, ExpertServerSection(listen="127.0.0.1:0"))
    evaluator.start()
    told.send(int(server.start().rpartition(":")[2]))
    threading.Event().wait()


@contextlib.contextmanager
def servers(what: str, num: int) -> Iterator[tuple[list[Any], list[int]]]:
    """Processes, and their ports."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(num)]
    made = [context.Process(target=serve, args=(what, theirs), daemon=True) for _, theirs in pipes]
    for process in made:
        process.start()
    try:
        yield made, [ours.recv() for ours, _ in pipes]
    finally:
        for process in made:
            process.kill()
            process.join()


@contextlib.contextmanager
def asked(
    num_experts: int,
    ports: list[int],
    bell: threading.Event,
    delay_ms: float = 0,
    wire: str = "float32",
) -> Iterator[tuple[Experts, Pool]]:
    """Experts that are behind those ports, and what asks them."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Proxy(port, delay_ms / 2000)) for port in ports]
        addresses = [each.address for each in wires]
        pool = Pool(lambda: addresses, None, 10.0, bell, CLOCK)
        pool.start()
        stack.callback(pool.close)
        fields = [
            RemoteExpert(k, str(k), pool, False, WIRE_TYPES[wire]) for k in range(num_experts)
        ]
        while len([each for each in pool.replicas() if each.is_open]) < len(ports):
            time.sleep(0.01)
        yield RemoteExperts(fields, pool, CLOCK, 60.0), pool


@contextlib.contextmanager
def far(
    drawn: Drawn, ports: list[int], delay_ms: float = 0, wire: str = "float32", steps: int = 1
) -> Iterator[tuple[BySteps, Pool]]:
    """An engine whose experts are behind those ports, and what asks them."""
    bell = threading.Event()
    with asked(len(drawn.experts), ports, bell, delay_ms, wire) as (experts, pool):
        yield BySteps(drawn, experts, bell, most_steps=steps), pool


def played(way: BySteps, requests: list[Request], at_once: int) -> dict[str, float]:
    """Serve requests, so many at a time; images a second and how long each took."""
    began, coming, began_at, took = time.perf_counter(), list(requests), {}, []
    while coming or began_at:
        while coming and len(began_at) < at_once:
            request = coming.pop(0)
            began_at[request.name] = time.perf_counter()
            way.take(request)
        finished = way.work()
        took += [time.perf_counter() - began_at.pop(name) for name in finished]
    return {
        "images_per_s": round(len(requests) / (time.perf_counter() - began), 2),
        "p50_s": round(statistics.median(took), 4),
        "p95_s": round(statistics.quantiles(took, n=20)[-1], 4),
    }


def measured(way: BySteps, num: int) -> dict[str, dict[str, float]]:
    """One request at a time, and 32."""
    played(way, requests_of(16, alike=True), 16)  # warm
    return {
        "alone": played(way, requests_of(12, alike=True), 1),
        "together": played(way, requests_of(num, alike=True), 32),
    }


def killed(drawn: Drawn, what: str) -> dict[str, float]:
    """One of two servers is killed while 32 images are drawn at a time."""
    with servers(what, 2) as (processes, ports), far(drawn, ports) as (way, pool):
        played(way, requests_of(32, alike=True), 32)
        died_at = [0.0]

        def kill() -> None:
            time.sleep(0.5)
            processes[0].kill()
            died_at[0] = time.perf_counter()

        closed_at = 0.0
        killing = threading.Thread(target=kill)
        killing.start()
        for request in (requests := requests_of(400, alike=True)):
            way.take(request)
        left = len(requests)
        while left:
            left -= len(way.work())
            if not closed_at and died_at[0] and not all(it.is_open for it in pool.replicas()):
                closed_at = time.perf_counter()
        killing.join()
        return {"passed_over_after_s": round(closed_at - died_at[0], 3), "lost": left}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", help="folder of a trained one")
    parser.add_argument("--size", choices=tuple(SIZES), default="digits", help="without a run")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--num", type=int, default=256, help="images of each measurement")
    args = parser.parse_args()
    what = args.run or args.size
    drawn = drawn_of(what)
    local = measured(BySteps(drawn), args.num)
    rows = []
    for num in args.replicas:
        with servers(what, num) as (_, ports):
            for wire, delay_ms, steps in WAYS:
                with far(drawn, ports, delay_ms, wire, steps) as (way, _):
                    row = measured(way, args.num)
                ratio = {
                    name: round(row[name]["images_per_s"] / local[name]["images_per_s"], 3)
                    for name in row
                }
                about = {"servers": num, "delay_ms": delay_ms, "wire": wire, "steps": steps}
                vain = round(way.num_unused / (16 + 12 + args.num) / 12, 3)
                rows.append({**about, **row, "of_local": ratio, "in_vain": vain})
    print(
        json.dumps(
            {
                "benchmark": "remote",
                "of": what,
                "local": local,
                "remote": rows,
                "killed": killed(drawn, what),
            }
        )
    )


if __name__ == "__main__":
    main()
