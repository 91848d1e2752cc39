"""One large image by one process and by several that share its tokens.

    python benchmarks/ranks.py [--tokens 1024] [--ranks 2] [--width 384] [--depth 12]

Baseline: the same network in one process, on one thread and on as many as the ranks have together.
Beside it ranks that wait for each other's tokens, and displaced ones. Prints one JSON line:
milliseconds of one evaluation, the median of some.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import time

import torch
from ensemble import shaken
from ways import CPU

from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.flow import VelocityField
from serving.engine.thrift import Thrift
from serving.expert.ranks import OfDisplacedRanks, ranks
from serving.expert.served import ServedExpert

PATCH, CHANNELS = 2, 4


def served(side: int, width: int, depth: int) -> list[ServedExpert]:
    """An expert of latents of a side."""
    told, shape = Conditioning("class", 10), (CHANNELS, side, side)
    network = shaken(build_dit(Sizes(width, depth, 6, PATCH), told, shape, 0), 0)
    return [ServedExpert(0, "digest", network, told, (shape,))]


@torch.inference_mode()
def milliseconds(field: VelocityField, side: int, num: int) -> float:
    """Of one evaluation of one image."""
    x, t, cond = torch.randn(1, CHANNELS, side, side), torch.rand(1), torch.tensor([3])
    took = []
    for _ in range(num + 1):
        began_at = time.perf_counter()
        field(x, t, cond)
        took.append(time.perf_counter() - began_at)
    return round(1000 * statistics.median(took[1:]), 1)


def again(ranks: OfDisplacedRanks) -> VelocityField:
    """Of a row that comes again each time."""
    return lambda *given: ranks.again(given, (0,), Thrift(displaced=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--num", type=int, default=15, help="evaluations of each way")
    args = parser.parse_args()
    side = PATCH * math.isqrt(args.tokens)
    load = functools.partial(served, side, args.width, args.depth)
    alone = load()[0].field
    row = {"benchmark": "ranks", "tokens": args.tokens, "ranks": args.ranks}
    for threads in (1, args.ranks):
        torch.set_num_threads(threads)
        row[f"one_process_{threads}_threads_ms"] = milliseconds(alone, side, args.num)
    for displaced in (False, True):
        with ranks(load(), load, args.ranks, CPU, displaced=displaced) as (_, (expert,)):
            field = again(expert.field) if displaced else expert.field
            way = "displaced" if displaced else "ranks"
            row[f"{way}_ms"] = milliseconds(field, side, args.num)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
