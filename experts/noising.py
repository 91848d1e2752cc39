"""From a batch of images to points of the flow: the same for experts and router."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.config import Config
from atoll.fit import refuse_condition
from experts.condition import Conditioning
from experts.flow import PathSample, linear_path, seeded
from experts.objectives import VELOCITY, Objective
from experts.prompting import ngrams_of
from experts.task import Place
from experts.times import TimeDensity
from partition.manifest import Latents, Partition
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
        encoder: of captions that are not encoded yet; None where there are none.
        latents: what the samples are stored as; None for images.
        objective: what is learned at the points.
    """

    seed: int
    job: int
    times: TimeDensity
    conditioning: Conditioning
    dropout: float
    encoder: TextEncoder | None
    latents: Latents | None = None
    objective: Objective = VELOCITY

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
        generator = seeded(torch.device("cpu"), self.seed, self.job, step)
        rows = place.rows(size)
        t = self.times.sample(size, generator)[rows]
        dropped = torch.rand(size, generator=generator)[rows] < self.dropout
        shape = self.shape_of(batch)
        noise = torch.randn(size, *shape, generator=generator)[rows]
        drawn = None
        if self.latents is not None and self.latents.kind == "moments":
            drawn = torch.randn(size, *shape, generator=generator)[rows]
        cond = self.conditioning.drop(self.condition(batch), dropped)
        return self.objective.point(self.clean(batch, drawn), noise, t), cond

    def clean(self, batch: Batch, drawn: Tensor | None = None) -> Tensor:
        """Samples as networks see them, without noise: (B, C, H, W) float32.

        Args:
            batch: the samples.
            drawn: standard normal, of that shape: which latent each one's moments give; None for
                their mean. Without moments it does not matter.
        """
        if self.latents is None:
            return torch.from_numpy(to_unit(batch.images))
        latent = torch.from_numpy(batch.images).float()
        if self.latents.kind == "moments":
            mean, log_variance = latent.chunk(2, dim=1)
            latent = mean if drawn is None else mean + (log_variance / 2).exp() * drawn
        return (latent - self.latents.shift) * self.latents.scale

    def shape_of(self, batch: Batch) -> tuple[int, int, int]:
        """Channels, height and width of what networks see of a batch."""
        if self.latents is not None:
            return self.latents.shape
        height, width, channels = batch.images.shape[1:]
        return channels, height, width

    def at(self, batch: Batch, t: Tensor, noise: Tensor) -> PathSample:
        """Samples on the linear path to a noise (B, C, H, W), at times (B,); latents by means."""
        return linear_path(self.clean(batch), noise, t)

    def condition(self, batch: Batch) -> Tensor | None:
        """What each sample is conditioned on, see :mod:`experts.condition`."""
        if self.conditioning.kind == "class":
            labels = torch.from_numpy(batch.labels)
            return torch.where(labels < 0, self.conditioning.size, labels)
        if self.conditioning.kind == "text" and batch.texts is not None:
            return torch.from_numpy(batch.texts).float()
        if self.encoder is not None and batch.captions is not None:
            return torch.from_numpy(self.encoder.encode(batch.captions))
        return None


def noising_of(
    config: Config,
    job: str,
    times: TimeDensity,
    conditioning: Conditioning,
    latents: Latents | None = None,
) -> Noising:
    """How a job of this run draws its training points."""
    return Noising(
        seed=config.run.seed,
        job=job_number(job),
        times=times,
        conditioning=conditioning,
        dropout=config.expert.condition_dropout,
        encoder=ngrams_of(conditioning),
        latents=latents,
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
    if kind == "text" and partition.texts is not None:
        texts = partition.texts
        return Conditioning("text", texts.dims, texts.encoder, texts.tokens)
    if kind == "text":
        encoder = HashedNgrams(config.captions.dims, config.captions.tokens)
        return Conditioning("text", encoder.dims, encoder.name, encoder.tokens)
    return Conditioning("none")


def job_number(job: str) -> int:
    """A number for a job's name, to seed with."""
    return zlib.crc32(job.encode())
