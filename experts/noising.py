"""From a batch of images to points of the flow: the same for experts and router."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.config import Config
from atoll.fit import refuse_condition, refuse_missing_captions
from experts.condition import Conditioning
from experts.flow import PathSample, linear_path, seeded
from experts.immiscible import assigned
from experts.objectives import VELOCITY, Objective
from experts.perturbation import Perturbation
from experts.prompting import ngrams_of
from experts.task import Place
from experts.times import TimeDensity
from partition.batch import Batch
from partition.manifest import Latents, Partition
from partition.pixels import to_unit
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
        immiscible: rows among which noises are assigned; 0 leaves them as they are drawn.
        perturbation: of embedded conditions; None leaves them as they are.
        flip: whether half of the images are mirrored.
    """

    seed: int
    job: int
    times: TimeDensity
    conditioning: Conditioning
    dropout: float
    encoder: TextEncoder | None
    latents: Latents | None = None
    objective: Objective = VELOCITY
    immiscible: int = 0
    perturbation: Perturbation | None = None
    flip: bool = False

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
            The points, and the conditions with some of them dropped, and perturbed.
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
        mirrored = None
        if self.flip:
            mirrored = torch.rand(size, generator=generator)[rows] < 0.5
        cond = self.conditioning.drop(self.condition(batch), dropped)
        if self.perturbation is not None and cond is not None:
            cond = self.perturbation.add(cond, self.perturbation.sample(size, rows, generator))
        x0 = self.clean(batch, drawn, mirrored)
        if self.immiscible:
            noise = assigned(x0, noise, self.immiscible)
        return self.objective.point(x0, noise, t), cond

    def clean(
        self, batch: Batch, drawn: Tensor | None = None, mirrored: Tensor | None = None
    ) -> Tensor:
        """Samples as networks see them, without noise: (B, C, H, W) float32.

        Args:
            batch: the samples.
            drawn: standard normal, of that shape: which latent each one's moments give; None for
                their mean. Without moments it does not matter.
            mirrored: (B,) bool, which of them are seen as in a mirror; None for none.
        """
        images = self._turned(batch.images, mirrored)
        if self.latents is None:
            return torch.from_numpy(to_unit(images))
        latent = torch.from_numpy(images).float()
        if self.latents.kind == "moments":
            mean, log_variance = latent.chunk(2, dim=1)
            latent = mean if drawn is None else mean + (log_variance / 2).exp() * drawn
        return (latent - self.latents.shift) * self.latents.scale

    def _turned(self, images: NDArray[Any], mirrored: Tensor | None) -> NDArray[Any]:
        """Images or latents as they are, but for those that are mirrored."""
        if self.latents is not None and self.latents.mirrored:
            which = np.zeros(len(images), np.int64) if mirrored is None else mirrored.numpy()
            chosen: NDArray[Any] = images[np.arange(len(images)), which.astype(np.int64)]
            return chosen
        if mirrored is None:
            return images
        return np.where(mirrored.numpy()[:, None, None, None], images[:, :, ::-1], images)

    def shape_of(self, batch: Batch) -> tuple[int, int, int]:
        """Channels, height and width of what networks see of a batch."""
        if self.latents is not None:  # moments have twice the channels, and mirrored ones a pair
            height, width = batch.images.shape[-2:]
            return self.latents.shape[0], height, width
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
        flip=config.data.flip if latents is None else latents.mirrored,
    )


def conditioning_of(config: Config, partition: Partition) -> Conditioning:
    """What this run's networks are conditioned on.

    Raises:
        ConfigError: the data, or some of them, do not have what ``expert.condition`` asks for.
    """
    kind = config.expert.condition
    refuse_condition(
        config, has_labels=bool(partition.class_names), has_captions=partition.has_captions
    )
    refuse_missing_captions(config, partition.num_without_caption)
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
