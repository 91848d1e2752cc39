"""The loss on samples that training never sees, at noise and times that never change.

Times are spread evenly over each cluster's samples, and each sample has a noise of its own; neither
depends on the run's seed, the step, or who computes it. So what moves the loss is the network, and
experts and monolith are measured by the same points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed, nn

from experts.flow import seeded
from experts.noising import job_number
from experts.parallel.mesh import Mesh
from experts.task import Examples, Task
from partition.batch import Batch

NUM_BINS = 4  # of the times: the loss near the data and near the noise are different matters


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was measured.

    Attributes:
        loss: mean over all samples.
        by_time: mean over those of each quarter of the times, from data to noise.
    """

    loss: float
    by_time: tuple[float, ...]


class Examination:
    """The questions, asked again and again.

    Those that share the batch of a step share these samples, too.

    Args:
        task: whose loss counts.
        batches: the samples, those of a cluster together, clusters in their order.
        device: where networks are asked.
        mesh: where this process stands among others.
    """

    def __init__(
        self, task: Task, batches: tuple[Batch, ...], device: torch.device, mesh: Mesh | None = None
    ) -> None:
        (batch,) = batches
        self._task, self._device, self._mesh = task, device, mesh or Mesh()
        examples = task.examples_at(batch, *_points(batch, task.compat.shape))
        self._times, place = examples.t, self._mesh.rows
        # As many for each, so that all ask alike; where they do not come out even, the last again.
        num = -(-len(examples) // place.world)
        own = torch.arange(num * place.rank, num * (place.rank + 1))
        self._examples = examples.at(own.clamp(max=len(examples) - 1))

    def __call__(self, network: nn.Module) -> HeldOut:
        """Ask a network, as many rows at once as a step has; all processes call."""
        rows = len(self._examples) * self._mesh.layout.rows
        num = -(-rows // self._task.training.batch_size)
        with torch.no_grad():
            parts = [self._losses(network, part) for part in self._examples.split(num)]
        losses = self._gathered(torch.cat(parts)).cpu().double()
        bins = (self._times * NUM_BINS).long()
        by_time = [losses[bins == number].mean().item() for number in range(NUM_BINS)]
        return HeldOut(losses.mean().item(), tuple(by_time))

    def _losses(self, network: nn.Module, part: Examples) -> Tensor:
        return self._task.measure(network, part.to(self._device))

    def _gathered(self, own: Tensor) -> Tensor:
        """Those of all processes, in the order of the samples."""
        if self._mesh.layout.rows == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self._mesh.layout.rows)]
        distributed.all_gather(parts, own, group=self._mesh.group("data", "shard"))
        return torch.cat(parts)[: len(self._times)]


def _points(batch: Batch, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Times and noise of each sample: the same for a cluster, whoever learns from it."""
    times, noises = [], []
    for cluster, num in zip(*np.unique(batch.clusters, return_counts=True), strict=True):
        generator = seeded(torch.device("cpu"), job_number("held-out"), int(cluster))
        times.append((torch.arange(num) + 0.5) / num)  # the order of the samples has no meaning
        noises.append(torch.randn(num, *shape, generator=generator))
    return torch.cat(times), torch.cat(noises)
