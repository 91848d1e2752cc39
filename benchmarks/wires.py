"""A remote expert's round trip by our wire, and by hivemind's own server of experts.

    OMP_NUM_THREADS=1 python benchmarks/wires.py [--rows 8] [--size digits|small] [--num 200]

Baseline: hivemind.moe's Server and RemoteExpert, the machinery that Petals is built on, with the
same network. Both serve from a process of their own, on loopback; one caller asks again and again,
for rows in float32. Prints one JSON line: milliseconds, the median and the 95th percentile, of the
network in the caller's own process, of ours, and of hivemind's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from rounds import given_of, timed
from served import SIZES, drawn_from
from torch import Tensor
from ways import CPU

from atoll.clock import SystemClock
from atoll.expert_server_section import ExpertServerSection
from serving.expert.conditions import Conditions
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.experts import RemoteExpert
from serving.remote.pool import Pool
from serving.remote.rows import WIRE_TYPES

CLOCK = SystemClock()


def serve(size: str, told: Connection) -> None:
    """Our server, until it is killed."""
    drawn = drawn_from(size)
    evaluator = Evaluator(64, 1024, CPU, CLOCK)
    expert = ServedExpert(0, "0", drawn.experts[0], drawn.conditioning, (drawn.shape,))
    servicer = ExpertsServicer(
        "benchmark", [expert], evaluator, CLOCK, lambda: False, Conditions(2**20)
    )
    server = ExpertServer(servicer, ExpertServerSection(listen="127.0.0.1:0"))
    evaluator.start()
    told.send(server.start())
    threading.Event().wait()


def by_ours(size: str, given: tuple[Tensor, Tensor, Tensor], num: int) -> dict[str, float]:
    """Round trips by our wire."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(size, theirs), daemon=True)
    process.start()
    address = ours.recv()
    pool = Pool(lambda: [address], None, 10.0, threading.Event(), CLOCK)
    pool.start()
    while not pool.served:
        time.sleep(0.01)
    field = RemoteExpert(0, "0", pool, False, WIRE_TYPES["float32"])
    found = timed(lambda: field(*given), num)
    pool.close()
    process.kill()
    return found


def by_hivemind(size: str, rows: int, num: int) -> dict[str, float]:
    """Round trips by hivemind's, in processes without gRPC."""
    script = Path(__file__).with_name("hivemind_wire.py")
    options = ["--size", size, "--rows", str(rows), "--num", str(num)]
    command = [sys.executable, str(script), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(SIZES), default="digits")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--num", type=int, default=200)
    args = parser.parse_args()
    given, expert = given_of(args.size, args.rows), drawn_from(args.size).experts[0]
    with torch.inference_mode():
        here = timed(lambda: expert(*given), args.num)
    ours = by_ours(args.size, given, args.num)
    theirs = by_hivemind(args.size, args.rows, args.num)
    about = {"benchmark": "wires", "size": args.size, "rows": args.rows}
    ratio = round(ours["p50_ms"] / theirs["p50_ms"], 3)
    told = {"here": here, "ours": ours, "hivemind": theirs, "ours_of_hivemind": ratio}
    print(json.dumps(about | told))


if __name__ == "__main__":
    main()
