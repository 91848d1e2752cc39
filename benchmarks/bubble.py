"""The share of a step in which the processes of a pipeline wait, by schedule, against theory.

``python benchmarks/bubble.py [--processes P] [--micro-batches M] [--ms N]`` prints one JSON line.
The blocks sleep instead of computing, as long forward as for the gradient of their input and for
that of their weight, so that more processes than cores can be watched. Everything else is what
trains an expert: stages, torch's schedules, gloo. With work of ``M`` micro-batches and one stage of
a process the bubble is ``(P - 1) / (M + P - 1)`` of a step (arXiv 2104.04473, section 2.2);
interleaved with ``v`` stages ``(P - 1) / (v M + P - 1)``; ``zero-bubble``, which is ZB-H1,
``(P - 1) / (3 M + P - 1)`` (arXiv 2401.10241, section 2.3). The baseline of the ratios is 1F1B.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn

from atoll.parallel_section import Layout
from experts.parallel.mesh import Mesh
from experts.parallel.pipeline_schedule import Schedule
from experts.parallel.pipeline_stages import Stages
from experts.task import Examples

STAGES = {"1f1b": 1, "interleaved": 2, "zero-bubble": 1}  # of a process


class Sleep(torch.autograd.Function):
    """Hands on what it is given, after a while."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, forward_s: float, backward_s: float) -> Tensor:
        ctx.backward_s = backward_s
        time.sleep(forward_s)
        return given.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        time.sleep(ctx.backward_s)
        return grads[0], None, None


class Block(nn.Module):
    """Sleeps in the forward pass, for its input's gradient, and for its weight's."""

    def __init__(self, sleep_s: float) -> None:
        super().__init__()
        self.weight, self.sleep_s = nn.Parameter(torch.zeros(1)), sleep_s

    def forward(self, x: Tensor) -> Tensor:
        through = Sleep.apply(x, self.sleep_s, self.sleep_s)
        return through + Sleep.apply(self.weight, 0.0, self.sleep_s)


class Sleepers(nn.Module):
    """See :class:`experts.parallel.pipeline_stages.Staged`."""

    def __init__(self, depth: int, sleep_s: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(sleep_s) for _ in range(depth))
        self.final_layer = nn.Identity()

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor]:
        return (x_t,)

    def advance(self, x: Tensor) -> tuple[Tensor]:
        for block in self.blocks:
            x = block(x)
        return (x,)

    def finish(self, x: Tensor) -> Tensor:
        return self.final_layer(x)


def step_s(mesh: Mesh, name: str, args: argparse.Namespace) -> float:
    """Seconds of a step on this process, all beginning together."""
    num = args.processes * STAGES[name]
    network = Sleepers(2 * args.processes, args.ms / 1000)
    stages = Stages(network, num)
    parts = {
        number: stages.part(network, number)
        for number in range(mesh.index("pipeline"), num, args.processes)
    }
    for number, part in parts.items():
        stages.play(part, number, "fp32")
    schedule = Schedule(name, parts, stages, lambda x, _: x.square().sum(), mesh)
    one = Examples(torch.zeros(1, 4), torch.zeros(1), None, torch.zeros(1, 4))
    taken = []
    for _ in range(1 + args.steps):
        distributed.barrier()
        begin = time.perf_counter()
        schedule.backward([one] * args.micro_batches)
        taken.append(time.perf_counter() - begin)
    return median(taken[1:])  # the first one makes the schedule


def serve(rank: int, args: argparse.Namespace, folder: Path) -> None:
    torch.set_num_threads(1)
    met = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=met, rank=rank, world_size=args.processes)
    mesh = Mesh(Layout(pipeline=args.processes), rank)
    taken = {name: step_s(mesh, name, args) for name in STAGES}
    if rank == 0:
        work_s = args.micro_batches * 2 * 3 * args.ms / 1000
        others = args.processes - 1
        pieces = {"1f1b": 1, "interleaved": STAGES["interleaved"], "zero-bubble": 3}
        found: dict[str, object] = {
            name: {
                "bubble": round(1 - work_s / took, 4),
                "theory": round(others / (pieces[name] * args.micro_batches + others), 4),
                "ratio": round(took / taken["1f1b"], 4),
            }
            for name, took in taken.items()
        }
        told = {"processes": args.processes, "micro_batches": args.micro_batches, "ms": args.ms}
        print(json.dumps({"benchmark": "bubble", **told, **found}))
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--micro-batches", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--ms", type=float, default=20, help="of each of a block's three parts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(serve, (args, Path(folder)), args.processes)


if __name__ == "__main__":
    main()
