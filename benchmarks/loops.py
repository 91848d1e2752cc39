"""The loops that benchmarks/step.py compares, each of which trains until its turns are over."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # else the first optimizer would, in its turn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard.writer import SummaryWriter  # noqa: F401 - as ours would
from turns import Turns

from atoll.blobs import open_store
from atoll.config import Config
from atoll.jobs import job_specs
from atoll.node_cache import NodeCache
from atoll.parallel_section import ParallelSection
from atoll.relay import Listener, Progress
from atoll.training_section import TrainingSection
from atoll.types import Assignment, Lease, Role
from experts.dialect import DIFFUSERS
from experts.exchange.diffusers import config_of
from experts.expert import ExpertTask, expert_task
from experts.loop import train
from experts.parallel.mesh import Mesh
from experts.task import Examples, Place
from experts.workplace import Workplace
from partition.reader import ShardReader
from partition.stage import load_partition


@dataclass(frozen=True)
class Given:
    """What all of them are given: the one expert of a run, and its samples."""

    config: Config
    task: ExpertTask
    samples: ShardReader
    folder: Path

    def batch(self) -> Examples:
        """One batch, ready in memory."""
        rows = self.samples.batch(0, self.task.training.batch_size)
        return self.task.examples(rows, 1, Place())


class Average:
    """Exponential averages of a network's weights, by one call of torch's."""

    def __init__(self, network: nn.Module, training: TrainingSection) -> None:
        self._weights, self._share = list(network.parameters()), 1 - training.ema_decay
        self._averages = [each.detach().clone() for each in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self._averages, self._weights, self._share)


def compete(name: str, settings: dict[str, Any], folder: Path, link: Connection) -> dict[str, Any]:
    """Take part as one of ``LOOPS``, with the run in a folder; what there is to tell at the end."""
    logging.disable()
    torch.set_num_threads(1)
    config = Config.model_validate(settings)
    store = open_store(config.run.uri)
    partition = load_partition(store)
    (spec,) = job_specs(config, partition.digest, [Role.EXPERT])
    samples = ShardReader(store, partition, None, NodeCache(folder / "cache"), 0)
    samples.batch(0, samples.num_samples)  # decoded once, and kept
    return LOOPS[name](Given(config, expert_task(config, spec, partition), samples, folder), link)


def ours(given: Given, link: Connection) -> dict[str, Any]:
    """The train loop as in a real run: from shards, with a curve and checkpoints."""
    turns, spec = Turns(link), given.task.spec
    with tempfile.TemporaryDirectory(dir=given.folder) as work_dir:
        at = Workplace(
            assignment=Assignment(Lease(spec.name, "bench", 1, 10.0), spec, None),
            store=open_store(given.config.run.uri),
            work_dir=Path(work_dir),
            mesh=Mesh(),
            parallel=ParallelSection(),
            device=torch.device("cpu"),
            drain=turns.over,
        )
        train(given.task, given.samples, at)
        heard = [it for it in Listener(at.work_dir).heard() if isinstance(it, Progress)]
    # A reading's time holds others' turns as well: what counts is how long it waited.
    samples = given.task.training.batch_size * given.task.training.log_every_steps
    waited_s = [(it.vitals.wait_share or 0.0) * samples / it.samples_per_s for it in heard]
    return {**_sizes(given.task.build()), "wait_share": sum(waited_s) / turns.spent_s}


def bare(given: Given, link: Connection) -> dict[str, Any]:
    """The least that trains the same network."""
    examples, turns = given.batch(), Turns(link)
    return _plain(given.task.build(), _asked, examples, given.task.training, turns)


def diffusers(given: Given, link: Connection) -> dict[str, Any]:
    """The same around the DiT of diffusers, whose blocks each embed time and class themselves."""
    from diffusers import DiTTransformer2DModel  # noqa: PLC0415 - in its own process alone

    examples, turns = given.batch(), Turns(link)
    about = given.task.about
    config = config_of(given.task.sizes, given.task.noising.conditioning, about["shape"], DIFFUSERS)
    network = DiTTransformer2DModel.from_config(config)

    def ask(network: nn.Module, it: Examples) -> Tensor:
        answer: Tensor = network(it.x_t, timestep=1000 * it.t, class_labels=it.cond).sample
        return answer

    return _plain(network, ask, examples, given.task.training, turns)


def accelerate(given: Given, link: Connection) -> dict[str, Any]:
    """The loop that accelerate's guide shows, around our network."""
    from accelerate import Accelerator  # noqa: PLC0415 - in its own process alone

    examples, turns, training = given.batch(), Turns(link), given.task.training
    accelerator = Accelerator(cpu=True)
    network = given.task.build()
    optimizer = _adamw(network, training)
    network, optimizer = accelerator.prepare(network, optimizer)
    average = Average(network, training)
    while True:
        with accelerator.accumulate(network):
            loss = F.mse_loss(_asked(network, examples), examples.target)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(network.parameters(), training.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
        average.update()
        if turns.over():
            return _sizes(network)


LOOPS = {"atoll": ours, "bare": bare, "diffusers": diffusers, "accelerate": accelerate}


def _plain(
    network: nn.Module,
    ask: Callable[[nn.Module, Examples], Tensor],
    examples: Examples,
    training: TrainingSection,
    turns: Turns,
) -> dict[str, Any]:
    optimizer, average = _adamw(network, training), Average(network, training)
    while True:
        F.mse_loss(ask(network, examples), examples.target).backward()
        nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        if turns.over():
            return _sizes(network)


def _asked(network: nn.Module, examples: Examples) -> Tensor:
    answer: Tensor = network(examples.x_t, examples.t, examples.cond)
    return answer


def _adamw(network: nn.Module, training: TrainingSection) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=0.0, fused=True
    )


def _sizes(network: nn.Module) -> dict[str, int]:
    return {"parameters": sum(each.numel() for each in network.parameters())}
