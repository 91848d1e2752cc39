"""Time and memory of a training step against the loops that people write or take instead.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--model digits|small|larger]

Baselines: a bare loop of the same network with fused AdamW and an average of the weights by one
call; the same around diffusers' DiTTransformer2DModel of the same sizes; and accelerate's loop
around our network. All have the same batch, optimizer, clipping and average, and one thread for
torch's operators. Ours is the train loop as in a real run: it reads its samples from shards,
prepares them ahead in a thread, logs, and writes a checkpoint in the middle of each turn; by
default a run does so every 200 steps. The others learn from one batch that is ready in memory, and
write nothing.

Each is a process of its own; they take turns, so that in each round all of them meet the same
machine, and the medians of their rounds' ratios to the fastest are printed, of wall-clock time and
of processor time, which counts all threads and hardly notices what else the machine does. Memory is
the process's peak beyond what it has when all is imported, told of the steps before the first
checkpoint and of all. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from loops import LOOPS, compete
from turns import Contestant, Turn

from atoll.config import Config
from partition.stage import run_partition

MODELS = {
    "digits": {"width": 64, "depth": 3, "heads": 4, "patch": 2},
    "small": {"width": 192, "depth": 6, "heads": 6, "patch": 2},
    "larger": {"width": 384, "depth": 4, "heads": 6, "patch": 2},
}
STEPS = {"digits": 200, "small": 40, "larger": 10}  # of a turn
OURS = "atoll"


def settings_of(folder: Path, model: str, batch_size: int, steps: int) -> dict[str, Any]:
    endless = 10**9
    return {
        "run": {"uri": str(folder / "run")},
        "partition": {"num_experts": 1},
        "expert": MODELS[model],
        "training": {
            "steps": endless,
            "batch_size": batch_size,
            "checkpoint_every_steps": steps,
            "grid_every_steps": endless,
        },
    }


def raced(
    contestants: dict[str, Contestant], steps: int, rounds: int
) -> tuple[dict[str, Turn], list[dict[str, Turn]]]:
    """The turn in which they warm up, up to the middle between two checkpoints; then the rounds."""
    first = {name: each.turn(steps // 2) for name, each in contestants.items()}
    names = list(contestants)
    raced = []
    for number in range(rounds):
        order = names if number % 2 == 0 else names[::-1]
        raced.append({name: contestants[name].turn(steps) for name in order})
    return first, raced


def told(first: dict[str, Turn], rounds: list[dict[str, Turn]]) -> dict[str, Any]:
    wall_s = {name: median(each[name].wall_s for each in rounds) for name in first}
    cpu_s = {name: median(each[name].cpu_s for each in rounds) for name in first}
    quick, thrifty = min(wall_s, key=wall_s.__getitem__), min(cpu_s, key=cpu_s.__getitem__)
    return {
        name: {
            "ms": round(1e3 * wall_s[name], 2),
            "cpu_ms": round(1e3 * cpu_s[name], 2),
            "ratio": round(median(each[name].wall_s / each[quick].wall_s for each in rounds), 3),
            "cpu_ratio": round(
                median(each[name].cpu_s / each[thrifty].cpu_s for each in rounds), 3
            ),
            "peak_mib": round(first[name].peak_bytes / 2**20, 1),
            "peak_mib_in_rounds": round(rounds[-1][name].peak_bytes / 2**20, 1),
        }
        for name in first
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="digits")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a turn; 200, 40 or 10 by default")
    args = parser.parse_args()
    steps = args.steps or STEPS[args.model]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = settings_of(folder, args.model, args.batch_size, steps)
        run_partition(Config.model_validate(settings), lambda *_: None)
        contestants = {loop: Contestant(compete, loop, settings, folder) for loop in LOOPS}
        first, rounds = raced(contestants, steps, args.rounds)
        ends = {name: each.leave() for name, each in contestants.items()}
    found = told(first, rounds)
    for name, end in ends.items():
        found[name] |= end
    result = {
        "benchmark": "step",
        "model": args.model,
        "batch_size": args.batch_size,
        "steps": steps,
        "rounds": args.rounds,
        "ratio": found[OURS]["ratio"],
        "cpu_ratio": found[OURS]["cpu_ratio"],
        "contestants": found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
