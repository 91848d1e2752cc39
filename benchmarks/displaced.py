"""What displaced attention costs in quality: ranks see each other's tokens a step old.

    python benchmarks/displaced.py RUN [--num 1000] [--ranks 2] [--set KEY=VALUE]

Baseline: the same images by experts in this process. Beside it a server of all experts, of several
ranks, that draws up to 64 steps in one go: exact, and displaced. Every image is bound to one expert
(ancestral), so that all its steps but the first of each stretch are displaced. Prints one JSON
line, see benchmarks/reuse.py for its columns.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import threading
from collections.abc import Iterator
from pathlib import Path

from reuse import drawn, judge_of
from ways import CPU

from atoll.clock import SystemClock
from atoll.config import Config
from atoll.config_file import run_config
from atoll.expert_server_section import ExpertServerSection
from serving.engine.thrift import Thrift
from serving.expert.conditions import Conditions
from serving.expert.evaluator import Evaluator
from serving.expert.process import load_served
from serving.expert.ranks import ranks
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.experts import RemoteExpert, RemoteExperts
from serving.remote.pool import Pool
from serving.remote.rows import WIRE_TYPES

CLOCK = SystemClock()


@contextlib.contextmanager
def elsewhere(
    config: Config, num: int, *, displaced: bool
) -> Iterator[tuple[RemoteExperts, threading.Event]]:
    """All experts of a run behind a server of so many ranks, and what rings when it answers."""
    numbers = list(range(config.partition.num_experts))
    load = functools.partial(load_served, config, numbers)
    with contextlib.ExitStack() as stack:
        _, experts = stack.enter_context(ranks(load(), load, num, CPU, displaced=displaced))
        evaluator = Evaluator(64, 4096, CPU, CLOCK)
        servicer = ExpertsServicer(
            "benchmark", experts, evaluator, CLOCK, lambda: False, Conditions(2**20)
        )
        server = ExpertServer(servicer, ExpertServerSection(listen="127.0.0.1:0"))
        evaluator.start()
        stack.callback(evaluator.stop)
        address, bell = server.start(), threading.Event()
        stack.callback(server.stop, 0.0)
        pool = Pool(lambda: [address], None, 600.0, bell, CLOCK)
        pool.start()
        stack.callback(pool.close)
        wire = WIRE_TYPES["float32"]
        fields = [RemoteExpert(it.number, it.checkpoint, pool, False, wire) for it in experts]
        while not pool.served:
            bell.wait(0.1)
        yield RemoteExperts(fields, pool, CLOCK, 60.0), bell


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="folder of a trained one")
    parser.add_argument("--num", type=int, default=1000, help="images of each way")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    config = run_config(None, [f"run.uri={args.run}", "sampling.strategy=ancestral", *args.set])
    judge = judge_of(config, args.num)
    rows = [{"way": "this process", **judge.row(judge.plain, judge.plain_rate)}]
    for displaced in (False, True):
        with elsewhere(config, args.ranks, displaced=displaced) as (experts, bell):
            thrift = Thrift(displaced=displaced)
            painted, rate = drawn(judge.ensemble, judge.requests, thrift, experts, bell)
        way = "displaced" if displaced else "exact"
        rows.append({"way": f"{args.ranks} ranks, {way}", **judge.row(painted, rate)})
    about = {"benchmark": "displaced", "run": Path(args.run).name, "num": args.num}
    print(json.dumps({**about, "steps": config.sampling.steps, "ways": rows}))


if __name__ == "__main__":
    main()
