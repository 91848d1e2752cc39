"""What the reuse of blocks and routes between steps saves, and what it costs in quality.

    OMP_NUM_THREADS=1 python benchmarks/reuse.py RUN [--num 2000] [--elsewhere] [--set KEY=VALUE]

Baseline: the same engine and requests, with nothing reused, beside it on the same images of a
trained run. Each way draws the same seeds and classes, 64 images at a time, and is told by its
images a second, the Fréchet distance of its images to the run's real ones by the classifier of
`atoll evaluate`, and the distance of its images from those of the baseline, relative to their
length. With --elsewhere all experts, those of the baseline as well, are in a server of their own
process, which draws up to 64 steps in one go. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from remote import asked, servers
from torch import Tensor
from ways import CPU, All

from atoll.blobs import open_store
from atoll.clock import SystemClock
from atoll.config import Config
from atoll.config_file import run_config
from evaluation.extractor import open_extractor
from evaluation.real import RealImages, read_real
from evaluation.yardstick import Yardstick
from router.load import LoadedEnsemble, load_ensemble
from router.selection import parse_strategy
from serving.engine.engine import THRIFTLESS, Engine
from serving.engine.events import Event, Failed, Painted
from serving.engine.model import Experts, Model
from serving.engine.request import Request, Sampling
from serving.engine.thrift import Thrift

_AT_ONCE, _MOST_ROWS = 64, 256
WAYS = (
    Thrift(),
    *(Thrift(blocks=blocks) for blocks in (2, 3, 5)),
    *(Thrift(blocks=100, change=change) for change in (0.05, 0.1, 0.2)),
    *(Thrift(routes=routes) for routes in (2, 5, 10)),
    Thrift(blocks=2, routes=5),
)


def requests_of(config: Config, real: RealImages, num: int) -> list[Request]:
    """One image each, of the conditions of real ones."""
    told = config.sampling
    sampling = Sampling(told.solver, told.steps, told.guidance, parse_strategy(told.strategy))
    conds = [None if real.cond is None else real.cond[i % len(real)][None] for i in range(num)]
    return [Request(str(seed), [seed], cond, sampling) for seed, cond in enumerate(conds)]


def drawn(
    ensemble: LoadedEnsemble,
    requests: list[Request],
    thrift: Thrift = THRIFTLESS,
    experts: Experts | None = None,
    bell: threading.Event | None = None,
) -> tuple[Tensor, float]:
    """Images in the order of the requests, and how many a second."""
    experts = experts or All(dict(enumerate(ensemble.experts)), ())
    model = Model(experts, ensemble.gate, ensemble.conditioning, ensemble.shape, CPU)
    bell = bell or threading.Event()
    engine = Engine(
        model,
        SystemClock(),
        bell,
        num_slots=_AT_ONCE,
        most_rows=_MOST_ROWS,
        most_steps=64,  # of experts elsewhere
        thrift=thrift,
    )
    images: dict[str, Tensor] = {}

    def hearing(name: str) -> Any:
        def hear(event: Event) -> None:
            assert not isinstance(event, Failed), event
            if isinstance(event, Painted):
                images[name] = event.image

        return hear

    began_at = time.perf_counter()
    for request in requests:
        engine.submit(request, hearing(request.name))
    while engine.num_images or not images:
        bell.clear()
        if not engine.tick() and engine.num_images:
            bell.wait(0.01)
    seconds = time.perf_counter() - began_at
    return torch.stack([images[each.name] for each in requests]), len(requests) / seconds


@dataclass(frozen=True)
class Judge:
    """What images of a run are held against: real ones, and those of the first way."""

    ensemble: LoadedEnsemble
    yardstick: Yardstick
    requests: list[Request]
    plain: Tensor
    plain_rate: float

    def row(self, painted: Tensor, rate: float) -> dict[str, float]:
        """Pace, quality, and the distance from the first way, relative to an image's length."""
        off = (painted - self.plain).flatten(1).norm(dim=1) / self.plain.flatten(1).norm(dim=1)
        scores = self.yardstick.scores(np.asarray(self.ensemble.decode(painted)))
        return {
            "images_per_s": round(rate, 1),
            "of_plain": round(rate / self.plain_rate, 2),
            "frechet": round(scores.frechet, 3),
            "recall": round(scores.recall, 3),
            "off": round(float(off.mean()), 4),
        }


@contextlib.contextmanager
def held(config: Config, *, elsewhere: bool) -> Iterator[tuple[Experts | None, threading.Event]]:
    """The experts of a run, if they are elsewhere, and what is rung when they answer."""
    bell = threading.Event()
    if not elsewhere:
        yield None, bell
        return
    num, uri = config.partition.num_experts, config.run.uri
    with servers(uri, 1) as (_, ports), asked(num, ports, bell) as (experts, _):
        yield experts, bell


def judge_of(
    config: Config,
    num: int,
    experts: Experts | None = None,
    bell: threading.Event | None = None,
) -> Judge:
    """Of so many images of a run, which are drawn as ever first."""
    uri = config.run.uri
    store, cache = open_store(uri), Path(uri) / "local" / "cache"
    ensemble = load_ensemble(store, config, cache, CPU)
    real = read_real(config, store, ensemble.partition, ensemble.conditioning)
    yardstick = Yardstick(open_extractor(config, store, real), real)
    requests = requests_of(config, real, num)
    how = (THRIFTLESS, experts, bell)
    drawn(ensemble, requests[:_AT_ONCE], *how)  # warm
    return Judge(ensemble, yardstick, requests, *drawn(ensemble, requests, *how))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="folder of a trained one")
    parser.add_argument("--num", type=int, default=2000, help="images of each way")
    parser.add_argument("--elsewhere", action="store_true", help="experts in a server of their own")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    config = run_config(None, [f"run.uri={args.run}", *args.set])
    with held(config, elsewhere=args.elsewhere) as where:
        judge = judge_of(config, args.num, *where)
        rows = [
            {
                "reused": thrift.told,
                **judge.row(*drawn(judge.ensemble, judge.requests, thrift, *where)),
            }
            for thrift in WAYS
        ]
    about = {
        "benchmark": "reuse",
        "run": Path(args.run).name,
        "num": args.num,
        "elsewhere": args.elsewhere,
    }
    print(json.dumps({**about, "strategy": config.sampling.strategy, "ways": rows}))


if __name__ == "__main__":
    main()
