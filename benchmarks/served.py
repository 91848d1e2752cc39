"""What is served in the benchmarks of serving: an ensemble, requests, and when they arrive."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from ensemble import shaken
from ways import Arrivals, Drawn

from atoll.flops import Shape
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from router.gate import LearnedGate
from router.network import build_router
from router.selection import parse_strategy
from serving.bench.trace import poisson
from serving.engine.request import Request, Sampling

CLASSES = Conditioning("class", 10)
NUM_EXPERTS = 8
SIZES: dict[str, tuple[Sizes, Sizes, Shape]] = {  # experts, router, images
    "digits": (Sizes(64, 3, 4, 2), Sizes(64, 2, 4, 4), (1, 8, 8)),
    "small": (Sizes(192, 6, 6, 2), Sizes(96, 3, 4, 4), (3, 16, 16)),
}


def drawn_from(size: str) -> Drawn:
    """Experts, and a gate that goes by image and class and likes all of them alike.

    Untrained, it would go by the time above all, and send whole batches to one expert.
    """
    expert_sizes, router_sizes, shape = SIZES[size]
    experts = [shaken(build_dit(expert_sizes, CLASSES, shape, k), k) for k in range(NUM_EXPERTS)]
    router = shaken(build_router(router_sizes, CLASSES, shape, NUM_EXPERTS, seed=9), 9)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, *shape, generator=generator)
    with torch.inference_mode():
        for parameter in router.t_embedder.mlp[2].parameters():
            parameter.zero_()
        router.head.bias -= router(x, torch.rand(1000), torch.arange(1000) % 11).mean(0)
    return Drawn(experts, LearnedGate(router), CLASSES, shape)


def requests_of(num: int, *, alike: bool) -> list[Request]:
    """Equal numbers give equal requests."""
    chance = random.Random(0)  # noqa: S311 - no secret
    top = parse_strategy("top-1")
    return [
        Request(
            str(seed),
            [seed],
            torch.tensor([seed % CLASSES.size]),
            Sampling(
                "euler",
                12 if alike else chance.choice((8, 12, 16)),
                1.0 if alike else chance.choice((1.0, 2.0)),
                top,
            ),
        )
        for seed in range(num)
    ]


def arriving(requests: Sequence[Request], rate: float) -> Arrivals:
    """The requests as a Poisson process of so many a second; all at once if it is infinite."""
    if math.isinf(rate):
        return [(0.0, request) for request in requests]
    times = [arrival.at_s for arrival in poisson(rate, 2 * len(requests) / rate, 0, {})]
    return list(zip(times, requests, strict=False))
