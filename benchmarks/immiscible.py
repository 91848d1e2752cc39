"""What it takes to assign noises to images, beside the step that they are for.

Examples are made ahead by a thread of their own: the ratio is that of its time, and delays steps
only where it is above 1, or where no core is left.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import torch

from atoll.sizes import Sizes
from atoll.training_section import TrainingSection
from experts.condition import Conditioning
from experts.flow import flow_loss
from experts.immiscible import assigned
from experts.networks import build_network
from experts.task import Examples
from experts.torch_engine import TorchEngine

SHAPES = {"digits": (1, 8, 8), "emoji": (3, 32, 32), "latents": (4, 32, 32)}
SIZES = Sizes(width=192, depth=6, heads=6, patch=4)
GROUPS = (32, 64, 128)


def timed(work: Callable[[], object], rounds: int) -> float:
    """Median of the seconds that it takes."""
    work()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="emoji")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    shape, rows = SHAPES[args.shape], args.rows
    images, noise = torch.rand(rows, *shape) * 2 - 1, torch.randn(rows, *shape)
    network = build_network(SIZES, Conditioning("none"), shape, seed=0)
    engine = TorchEngine(network, flow_loss, TrainingSection(batch_size=rows))
    examples = Examples(images, torch.rand(rows), None, noise)
    step_s = timed(lambda: engine.step([examples]), args.rounds)
    drawing_s = timed(lambda: torch.randn(rows, *shape), args.rounds)
    assigning_s = {
        size: timed(lambda size=size: assigned(images, noise, size), args.rounds)  # type: ignore[misc]
        for size in GROUPS
    }
    result = {
        "benchmark": "immiscible",
        "shape": args.shape,
        "rows": rows,
        "step_ms": round(1e3 * step_s, 2),
        "drawing_ms": round(1e3 * drawing_s, 3),
        "assigning_ms": {size: round(1e3 * each, 2) for size, each in assigning_s.items()},
        "ratio": {size: round(each / step_s, 4) for size, each in assigning_s.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
