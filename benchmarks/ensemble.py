"""Top-1 sampling from an ensemble against one expert of the same size.

    python benchmarks/ensemble.py --size digits

Baseline: one expert on the same noise, through the same solver, in the same process; the two take
turns, and the median of their ratios counts. Aim: the router's share of the FLOPs plus 10%.
Prints one JSON line.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

from atoll.flops import Shape
from atoll.sections import SamplingSection
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.flops import dit_flops
from experts.solvers import integrate
from router.cost import router_flops
from router.ensemble import Ensemble
from router.gate import LearnedGate
from router.network import build_router
from router.sampling import Sampler, Wanted, noise_of
from router.selection import parse_strategy

CLASSES = Conditioning("class", 10)
NUM_EXPERTS = 4
SIZES: dict[str, tuple[Sizes, Sizes, Shape, int]] = {  # experts, router, images, how many of them
    "digits": (Sizes(64, 3, 4, 2), Sizes(64, 2, 4, 2), (1, 8, 8), 256),
    "small": (Sizes(192, 6, 6, 2), Sizes(96, 3, 4, 2), (3, 16, 16), 64),
}


def shaken(network: nn.Module, seed: int) -> nn.Module:
    """Weights with which every answer differs: a fresh gate would send all rows to one expert."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="digits")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    expert_sizes, router_sizes, shape, num = SIZES[arguments.size]
    experts = [shaken(build_dit(expert_sizes, CLASSES, shape, k), k) for k in range(NUM_EXPERTS)]
    router = shaken(build_router(router_sizes, CLASSES, shape, NUM_EXPERTS, seed=9), 9)
    usage = torch.zeros(NUM_EXPERTS)
    ensemble = Ensemble(
        experts,
        LearnedGate(router),
        parse_strategy("top-1"),
        watch=lambda routing: usage.add_((routing.weights > 0).sum(0)),
    )
    sampler = Sampler(ensemble, CLASSES, shape, torch.device("cpu"))
    wanted = Wanted(range(num), torch.arange(num) % CLASSES.size)
    settings = SamplingSection(steps=arguments.steps, batch_size=num)

    def of_ensemble() -> None:
        list(sampler.batches(wanted, settings))

    @torch.inference_mode()
    def of_one() -> None:
        noise = noise_of(wanted.seeds, shape)
        integrate(experts[0], noise, wanted.cond, steps=settings.steps, solver=settings.solver)

    timings: dict[str, list[float]] = {"ensemble": [], "one": []}
    for turn in range(arguments.repeats + 1):
        for name, draw in (("one", of_one), ("ensemble", of_ensemble)):
            start = time.perf_counter()
            draw()
            if turn:  # the first one warms up
                timings[name].append(time.perf_counter() - start)
    router_cost = router_flops(router_sizes, CLASSES, shape, NUM_EXPERTS)
    share = router_cost / dit_flops(expert_sizes, CLASSES, shape)
    ratios = [a / b for a, b in zip(timings["ensemble"], timings["one"], strict=True)]
    print(
        json.dumps(
            {
                "benchmark": "ensemble-top-1",
                "size": arguments.size,
                "images": num,
                "steps": arguments.steps,
                "threads": arguments.threads,
                "one_expert_images_per_s": round(num / statistics.median(timings["one"]), 1),
                "ensemble_images_per_s": round(num / statistics.median(timings["ensemble"]), 1),
                "expert_share_of_rows": [round(float(u / usage.sum()), 3) for u in usage],
                "router_flop_share": round(share, 3),
                "ratio": round(statistics.median(ratios), 3),
                "aim": round(1 + share + 0.1, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
