"""From a batch of images to points of the flow: the same for experts and router."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.config import Config
from atoll.fit import refuse_condition
from experts.condition import Conditioning
from experts.flow import PathSample, TimeDensity, linear_path, seeded
from experts.task import Place
from partition.manifest import Partition
from partition.pixels import to_unit
from partition.reader import Batch
from partition.text import HashedNgrams, TextEncoder


@dataclass(frozen=True, slots=True)
class Noising:
    """How training points are drawn.

    Attributes:
        seed: of the run.
        job: see :func:`job_number`; no two jobs draw the same.
        times: density of training times.
        conditioning: what the network is told.
        dropout: share of rows trained without their condition.
        encoder: of captions; None unless the condition is text.
    """

    seed: int
    job: int
    times: TimeDensity
    conditioning: Conditioning
    dropout: float
    encoder: TextEncoder | None

    def draw(
        self, batch: Batch, step: int, size: int, place: Place
    ) -> tuple[PathSample, Tensor | None]:
        """Points of the flow for one process's rows of a step.

        Args:
            batch: the samples of these rows.
            step: counted from 1.
            size: rows of the whole step, over all processes.
            place: which of them these are.

        Returns:
            The points, and the conditions with some of them dropped.
        """
        height, width, channels = batch.images.shape[1:]
        generator = seeded(torch.device("cpu"), self.seed, self.job, step)
        rows = place.rows(size)
        t = self.times.sample(size, generator)[rows]
        dropped = torch.rand(size, generator=generator)[rows] < self.dropout
        noise = torch.randn(size, channels, height, width, generator=generator)[rows]
        cond = self.conditioning.drop(self.condition(batch), dropped)
        return point_of(batch, noise, t), cond

    def condition(self, batch: Batch) -> Tensor | None:
        """What each sample is conditioned on, see :mod:`experts.condition`."""
        if self.conditioning.kind == "class":
            labels = torch.from_numpy(batch.labels)
            return torch.where(labels < 0, self.conditioning.size, labels)
        if self.encoder is not None and batch.captions is not None:
            return torch.from_numpy(self.encoder.encode(batch.captions))
        return None


def point_of(batch: Batch, noise: Tensor, t: Tensor) -> PathSample:
    """Samples, as they are stored, on their way to a noise (B, C, H, W), at times (B,)."""
    return linear_path(torch.from_numpy(to_unit(batch.images)), noise, t)


def noising_of(config: Config, job: str, times: TimeDensity, conditioning: Conditioning) -> Noising:
    """How a job of this run draws its training points."""
    return Noising(
        seed=config.run.seed,
        job=job_number(job),
        times=times,
        conditioning=conditioning,
        dropout=config.expert.condition_dropout,
        encoder=HashedNgrams(conditioning.size) if conditioning.kind == "text" else None,
    )


def conditioning_of(config: Config, partition: Partition) -> Conditioning:
    """What this run's networks are conditioned on.

    Raises:
        ConfigError: the data do not have what ``expert.condition`` asks for.
    """
    kind = config.expert.condition
    refuse_condition(
        config, has_labels=bool(partition.class_names), has_captions=partition.has_captions
    )
    if kind == "class":
        return Conditioning("class", len(partition.class_names))
    if kind == "text":
        encoder = HashedNgrams(config.expert.text_dims)
        return Conditioning("text", encoder.dims, encoder.name)
    return Conditioning("none")


def job_number(job: str) -> int:
    """A number for a job's name, to seed with."""
    return zlib.crc32(job.encode())
