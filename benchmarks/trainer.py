"""Steps per second of the train loop against a bare loop of the same model, batch and optimizer.

``python benchmarks/trainer.py [--model digits|larger] [--steps N] [--rounds N]`` prints one JSON
line. Both loops run in turn in one process, on the same number of threads; the train loop reads its
samples from shards, prepares them ahead, logs and writes a checkpoint as in a real run, while the
bare loop learns from one batch that is ready in memory. The first epoch, in which the reader
decodes what it then keeps, is not timed. Each round gives one ratio of wall-clock time and one of
processor time (of all threads); their medians are printed, the second because it hardly notices
what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from atoll.blobs import open_store
from atoll.config import Config
from atoll.jobs import job_specs
from atoll.parallel_section import ParallelSection
from atoll.types import Assignment, Lease, Role
from experts.expert import ExpertTask, expert_task
from experts.loop import train
from experts.parallel.mesh import Mesh
from experts.task import Examples, Place
from experts.workplace import Workplace
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition

MODELS = {
    "digits": {"width": 64, "depth": 3, "heads": 4, "patch": 2},
    "larger": {"width": 192, "depth": 6, "heads": 6, "patch": 2},
}


def config_of(folder: Path, model: str, batch_size: int, steps: int) -> Config:
    return Config.model_validate(
        {
            "run": {"uri": str(folder / "run")},
            "partition": {"num_experts": 1},
            "expert": MODELS[model],
            "training": {
                "steps": steps,
                "batch_size": batch_size,
                "checkpoint_every_steps": 200,
                "grid_every_steps": 10**9,
            },
        }
    )


@dataclass(frozen=True)
class Cost:
    """Seconds a step: by the clock on the wall, and of all processors together."""

    wall_s: float
    cpu_s: float


class Stopwatch:
    """Times the steps of a loop, all but the first tenth."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """Take note of the end of a step."""
        self._marks.append((time.perf_counter(), time.process_time()))

    def cost(self) -> Cost:
        """Of a step, on average."""
        first, last = self._marks[len(self._marks) // 10], self._marks[-1]
        num_steps = len(self._marks) - 1 - len(self._marks) // 10
        return Cost((last[0] - first[0]) / num_steps, (last[1] - first[1]) / num_steps)


def our_loop(task: ExpertTask, config: Config, samples: ShardReader, folder: Path) -> Cost:
    """The train loop, without its start and its last checkpoint."""
    store, watch = open_store(config.run.uri), Stopwatch()
    with tempfile.TemporaryDirectory(dir=folder) as work_dir:
        epoch = time.time_ns() % 10**9  # a folder of its own for each round's checkpoints
        lease = Lease(task.spec.name, "bench", epoch, 10.0)
        assignment = Assignment(lease, task.spec, None)

        def drain() -> bool:
            watch.mark()
            return False

        here = (Mesh(), ParallelSection(), torch.device("cpu"))
        at = Workplace(assignment, store, Path(work_dir), *here, drain=drain)
        train(task, samples, at)
    return watch.cost()


def bare_loop(task: ExpertTask, examples: Examples) -> Cost:
    """The least that trains the same network."""
    network, training, watch = task.build(), task.training, Stopwatch()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=0.0, fused=True
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(training.ema_decay))
    for _ in range(training.steps):
        output = network(examples.x_t, examples.t, examples.cond)
        (output - examples.target).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(network)
        watch.mark()
    return watch.cost()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="digits")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.disable()
    torch.set_num_threads(args.threads)
    ours: list[Cost] = []
    bare: list[Cost] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = config_of(folder, args.model, args.batch_size, args.steps)
        run_partition(config, lambda *_: None)
        partition = load_partition(open_store(config.run.uri))
        (spec,) = job_specs(config, partition.digest, [Role.EXPERT])
        task = expert_task(config, spec, partition)
        samples = ShardReader(open_store(config.run.uri), partition, None, folder, 0)
        samples.batch(0, samples.num_samples)
        examples = task.examples(samples.batch(0, args.batch_size), 1, Place())
        for _ in range(args.rounds):
            bare.append(bare_loop(task, examples))
            ours.append(our_loop(task, config, samples, folder))
    pairs = list(zip(bare, ours, strict=True))
    result = {
        "benchmark": "trainer",
        "model": args.model,
        "batch_size": args.batch_size,
        "threads": args.threads,
        "steps_per_s": round(1 / median(cost.wall_s for cost in ours), 2),
        "bare_steps_per_s": round(1 / median(cost.wall_s for cost in bare), 2),
        "ratio": round(median(b.wall_s / o.wall_s for b, o in pairs), 4),
        "cpu_ratio": round(median(b.cpu_s / o.cpu_s for b, o in pairs), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
