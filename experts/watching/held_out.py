"""The loss on samples that training never sees, at noise and times that never change.

Times are spread evenly over each cluster's samples, and each sample has a noise of its own; neither
depends on the run's seed, the step, or who computes it. So what moves the loss is the network, and
experts and monolith are measured by the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Questions on samples of one shape.

    Attributes:
        own: those that this process asks.
        num: how many there are.
    """

    own: Examples
    num: int


class Examination:
    """The questions, asked again and again.

    Those that share the batch of a step share these samples, too.

    Args:
        task: whose loss counts.
        batches: the samples, in each batch of one shape; those of a cluster together, clusters in
            their order.
        device: where networks are asked.
        mesh: where this process stands among others.
    """

    def __init__(
        self, task: Task, batches: Sequence[Batch], device: torch.device, mesh: Mesh | None = None
    ) -> None:
        self._task, self._device, self._mesh = task, device, mesh or Mesh()
        times = _times([batch.clusters for batch in batches])
        self._times = torch.cat(times)
        self._sheets = [self._sheet(*each) for each in zip(batches, times, strict=True)]

    def _sheet(self, batch: Batch, times: Tensor) -> _Sheet:
        task, place = self._task, self._mesh.rows
        examples = task.examples_at(batch, times, _noises(task, batch))
        # As many for each, so that all ask alike; where they do not come out even, the last again.
        num = -(-len(examples) // place.world)
        own = torch.arange(num * place.rank, num * (place.rank + 1))
        return _Sheet(examples.at(own.clamp(max=len(examples) - 1)), len(examples))

    def __call__(self, network: nn.Module) -> HeldOut:
        """Ask a network, as many rows at once as a step has; all processes call."""
        losses = torch.cat([self._losses(network, sheet) for sheet in self._sheets]).cpu().double()
        bins = (self._times * NUM_BINS).long()
        by_time = [losses[bins == number].mean().item() for number in range(NUM_BINS)]
        return HeldOut(losses.mean().item(), tuple(by_time))

    def _losses(self, network: nn.Module, sheet: _Sheet) -> Tensor:
        """Of all samples of a shape, those of all processes in their order."""
        rows = len(sheet.own) * self._mesh.layout.rows
        num = -(-rows // self._task.training.batch_size)
        pieces = (part.to(self._device) for part in sheet.own.split(num))
        with torch.no_grad():
            own = torch.cat([self._task.measure(network, part) for part in pieces])
        if self._mesh.layout.rows == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self._mesh.layout.rows)]
        distributed.all_gather(parts, own, group=self._mesh.group("data", "shard"))
        return torch.cat(parts)[: sheet.num]


def _times(clusters: Sequence[NDArray[np.int64]]) -> list[Tensor]:
    """Times of the samples of each batch, by their clusters: the same whoever learns from them.

    A cluster's samples of all shapes share its times out, and those of each shape are as far apart
    as can be. The order of samples has no meaning.
    """
    times = [torch.empty(len(each)) for each in clusters]
    for cluster in np.unique(np.concatenate(clusters)):
        rows = [torch.from_numpy(each == cluster) for each in clusters]
        nums = [int(each.sum()) for each in rows]
        ways = torch.cat([(torch.arange(num) + 0.5) / max(num, 1) for num in nums])
        places = ways.argsort(stable=True).argsort()
        spread = torch.split((places + 0.5) / len(places), nums)
        for each, row, own in zip(times, rows, spread, strict=True):
            each[row] = own
    return times


def _noises(task: Task, batch: Batch) -> Tensor:
    """Noise of each sample: the same for a cluster and a shape, whoever learns from it."""
    shape, cpu = task.shape_of(batch), torch.device("cpu")
    seed = job_number("held-out"), *(() if shape == task.compat.shape else shape[1:])
    parts = [
        torch.randn(num, *shape, generator=seeded(cpu, *seed, int(cluster)))
        for cluster, num in zip(*np.unique(batch.clusters, return_counts=True), strict=True)
    ]
    return torch.cat(parts)
