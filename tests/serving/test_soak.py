"""Thousands of orders while everything happens that may: memory stays flat, and each one ends.

``ATOLL_SOAK=10000 pytest tests/serving/test_soak.py -s`` goes on for long, and says what happened.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import statistics
import time
from collections import Counter, deque

import psutil
import pytest

from atoll.clock import SystemClock
from atoll.errors import BadInput, BlobError, Busy, NotFound
from serving.service import load
from serving.service.order import Order
from tests.serving.built import finished
from tests.serving.followed import Followed

NUM = int(os.environ.get("ATOLL_SOAK", "120"))
SWAPS = 4  # in all
MOST_GROWTH = 32 << 20  # bytes, from the second quarter to the last; a run of 10,000 shows a leak
BAD_CLASS = "9"
HASTE = 100.0

pytestmark = pytest.mark.timeout(120 + NUM)


class HastyClock(SystemClock):
    """Pauses and canaries are over in no time."""

    def monotonic(self):
        return HASTE * super().monotonic()


class Weather:
    """What befalls the service: a store that is away now and then, a network that raises."""

    def __init__(self, dice):
        self.dice, self.build, self.download = dice, load.build_expert, load.checkpoints.download

    def build_expert(self, described, weights):
        network = self.build(described, weights)

        def moody(x, t, cond):
            if (cond == int(BAD_CLASS)).any():
                raise ValueError("it does not like this class")
            return network(x, t, cond)

        return moody

    def fetch(self, *args, names=None, **more):
        if names and self.dice.random() < 0.05:
            raise BlobError("the store does not answer")
        return self.download(*args, names=names, **more)


def order(dice):
    kind = dice.random()
    if kind < 0.03:
        return Order(steps=10**9)
    if kind < 0.06:
        return Order((BAD_CLASS,), strategy="full")
    return Order(
        (str(dice.randrange(9)),),
        num=dice.choice([1, 1, 1, 2, 4]),
        steps=dice.randint(1, 4),
        solver=dice.choice(["euler", "heun"]),
        guidance=dice.choice([1.0, 2.0]),
        strategy=dice.choice(["top-1", "full", "ancestral", "sample"]),
        previews=dice.choice([0, 1]),
        priority=dice.choice(["high", "normal", "low"]),
        deadline_s=0.1 if kind > 0.98 else None,
    )


def one_experts_gb(trained):
    weights = [path.stat().st_size for path in (trained.folder / "run").rglob("ema.safetensors")]
    return 1.5 * statistics.median(weights) / 1e9


def test_orders_by_the_thousand_all_end_and_memory_stays_flat(trained, monkeypatch, capsys):
    dice = random.Random(0)
    weather = Weather(dice)
    monkeypatch.setattr(load, "build_expert", weather.build_expert)
    monkeypatch.setattr(load.checkpoints, "download", weather.fetch)
    logging.disable()  # what pytest keeps of it would be the only thing that grows
    told_of = Counter()
    followed = Followed(
        trained,
        HastyClock(),
        lambda told: told_of.update([type(told).__name__]),
        memory_gb=one_experts_gb(trained),
        max_queue=64,
        keep_s=20.0,
        canary=0.5,
        canary_s=50.0,
    )
    service, process = followed.service, psutil.Process()
    outcomes, refused, sizes, open_jobs = Counter(), Counter(), [], deque()
    num_swaps, began_at = 0, time.monotonic()
    for number in range(NUM):
        while True:
            try:
                open_jobs.append(service.order(order(dice), "me"))
            except BadInput:
                refused["unusable"] += 1
            except Busy:
                refused["busy"] += 1
                outcomes[ended(open_jobs.popleft())] += 1
                continue
            break
        if open_jobs and dice.random() < 0.1:
            with contextlib.suppress(NotFound):  # it is over, and forgotten
                service.cancel(dice.choice(open_jobs).name, "me")
        if number % (NUM // SWAPS) == NUM // SWAPS // 2:
            followed.train_on(
                lambda weights: {name: tensor * 0.999 for name, tensor in weights.items()}
            )
            before = service.editions()[-1].name
            while service.editions()[-1].name == before:
                followed.follower.look()
            num_swaps += 1
        if number % max(NUM // 100, 1) == 0:
            sizes.append(process.memory_info().rss)
    outcomes.update(ended(job) for job in open_jobs)
    seconds = time.monotonic() - began_at
    followed.service.close()
    quarter = len(sizes) // 4
    growth = statistics.median(sizes[-quarter:]) - statistics.median(sizes[quarter : 2 * quarter])
    told = {
        "orders": NUM,
        "seconds": round(seconds, 1),
        **outcomes,
        **refused,
        "ticks": told_of["Tick"],
        "loads": told_of["Came"],
        "swaps": num_swaps,
        "rss_mb": [round(size / 2**20) for size in sizes[:: max(quarter // 2, 1)]],
        "growth_mb": round(growth / 2**20, 1),
    }
    logging.disable(logging.NOTSET)
    if NUM > 1000:
        with capsys.disabled():
            print(f"\n{json.dumps(told)}")
    assert sum(outcomes.values()) + refused["unusable"] == NUM
    assert set(outcomes) == {"done", "failed", "cancelled"}
    assert outcomes["done"] > NUM / 2
    assert growth < MOST_GROWTH


def ended(job):
    """How a job ended; each one does, and says why if it has no result."""
    view = finished(job)
    assert bool(view.reason) == (view.state != "done")
    assert view.state != "done" or all(image.image is not None for image in view.images)
    return view.state
