"""Latents of the images, see :class:`partition.encoding.series.Series`."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.digests import digest_of
from atoll.encoded import refuse_other_files
from atoll.errors import BadInput
from atoll.fit import refuse_patches, size_key
from partition.autoencoder import KEY, Autoencoder, Fit, fit_of
from partition.encoding.series import Encoded, Stored
from partition.form import write_array
from partition.images import decode_png
from partition.manifest import Latents, Shard
from partition.model_files import fetch_model, kept_model, model_config

_TINY = 1e-12  # latents that are all alike have no scale


@dataclass(frozen=True, slots=True)
class LatentSeries:
    """What ``[latents]`` asks for.

    Attributes:
        model: digest of the autoencoder.
        kind: what is kept of each image.
        fit: of the autoencoder to the images.
        scale: by which networks see latents multiplied; ``measured``, or None for the model's own.
        shift: which is taken from them before; None for the model's own.
        precision: of the autoencoder.
        flip: whether the mirror image is encoded, too.
        seed: of the run; latents that are drawn once follow from it.
        batch_size: images encoded together.
        workers: processes.
    """

    model: str
    kind: Literal["moments", "samples"]
    fit: Fit
    scale: float | Literal["measured"] | None
    shift: float | None
    precision: Literal["fp32", "bf16"]
    flip: bool
    seed: int
    batch_size: int
    workers: int
    name: str = "latents"

    @classmethod
    def planned(cls, config: Config, store: BlobStore, image: tuple[int, int, int]) -> LatentSeries:
        """The series of a run, whose store keeps the autoencoder from now on.

        Args:
            config: of the run; ``latents.vae`` is set.
            store: of the run.
            image: height, width and channels; of those of the first bucket.

        Raises:
            BadInput: the autoencoder cannot be used, or does not fit; names the key.
            ConfigError: its latents do not fit the networks; likewise.
        """
        section = config.latents
        assert section.vae is not None
        refuse = functools.partial(refuse_other_files, store, config, "latents")
        model = kept_model(store, section.vae, KEY, "latents", refuse)
        sizes = config.data.buckets or (image[:2],)
        told = model_config(store, model)
        fit = fit_of(told, section.vae, image[2], sizes, size_key(config))
        if section.kind == "moments" and not fit.has_moments:
            raise BadInput(
                f'latents.kind = "moments", and {KEY} = {section.vae!r} draws nothing: it has none;'
                ' set latents.kind to "samples"'
            )
        for height, width in sizes:
            places = height // fit.factor, width // fit.factor
            refuse_patches(config, *places, factor=fit.factor)
        return cls(
            model=model,
            kind=section.kind,
            fit=fit,
            scale=section.scale,
            shift=section.shift,
            precision=section.precision,
            flip=config.data.flip,
            seed=config.run.seed,
            batch_size=section.batch_size,
            workers=section.workers,
        )

    @property
    def digest(self) -> str:
        """See :class:`partition.encoding.series.Series`."""
        drawn = {"seed": self.seed} if self.kind == "samples" else {}
        model = {"vae": self.model, "precision": self.precision}
        return digest_of(["latents", {**model, "kind": self.kind, "flip": self.flip, **drawn}])

    def open(self, store: BlobStore, cache: Path, device: torch.device) -> LatentEncoder:
        """See :class:`partition.encoding.series.Series`."""
        folder = fetch_model(store, self.model, cache)
        return LatentEncoder(Autoencoder(folder, device, self.precision), self)

    def result(self, shards: tuple[tuple[Shard, ...], ...], sums: Mapping[str, float]) -> Latents:
        """See :class:`partition.encoding.series.Series`.

        Where neither the configuration nor the autoencoder has a scale, it is measured: latents
        times 1 / their standard deviation have one of 1, see section 4.3.2 of Rombach et al.
        """
        mean = sums["sum"] / sums["num"]
        variance = max(sums["squares"] / sums["num"] - mean**2, 0)
        scale = self.fit.scale if self.scale is None else self.scale
        if scale is None or scale == "measured":
            scale = 1 / math.sqrt(max(variance, _TINY))
        return Latents(
            model=self.model,
            kind=self.kind,
            shape=self.fit.shape,
            scale=scale,
            shift=self.fit.shift if self.shift is None else self.shift,
            mirrored=self.flip,
            std=scale * math.sqrt(variance),
            shards=shards,
        )


@dataclass(frozen=True, slots=True)
class LatentEncoder:
    """See :class:`partition.encoding.series.Encoder`.

    Attributes:
        autoencoder: that encodes.
        series: what is kept of what it answers.
    """

    autoencoder: Autoencoder
    series: LatentSeries

    def prepare(self, sample: Stored) -> tuple[Stored, NDArray[np.uint8]]:
        """See :class:`partition.encoding.series.Encoder`."""
        return sample, decode_png(sample.image)

    def encode(self, prepared: Sequence[tuple[Stored, NDArray[np.uint8]]]) -> Encoded:
        """See :class:`partition.encoding.series.Encoder`."""
        samples, images = zip(*prepared, strict=True)
        variants = 2 if self.series.flip else 1
        turned = [(image, image[:, ::-1])[:variants] for image in images]
        answer = self.autoencoder.encode(np.stack(list(itertools.chain(*turned))))
        mean, variance = answer, torch.zeros(())
        if self.series.fit.has_moments:
            mean, log_variance = answer.chunk(2, dim=1)
            variance = log_variance.exp()
        if self.series.kind == "samples" and self.series.fit.has_moments:
            answer = mean = mean + variance.sqrt() * torch.cat(
                [self._drawn(sample, (variants, *mean.shape[1:])) for sample in samples]
            )
            variance = torch.zeros(())
        kept = answer.half().numpy()
        kept = kept.reshape(len(samples), 2, *kept.shape[1:]) if self.series.flip else kept
        if not np.isfinite(kept).all():
            raise BadInput(
                f"{KEY} gives numbers that 16 bits cannot hold, or none, for some of "
                f"{samples[0].told['key']} to {samples[-1].told['key']}; set latents.precision to "
                '"fp32", or choose another autoencoder'
            )
        square = mean.double().square() + variance.double()
        return Encoded(
            files=[
                {"npy": write_array(array), "json": sample.about}
                for sample, array in zip(samples, kept, strict=True)
            ],
            sums={
                "num": float(mean.numel()),
                "sum": float(mean.double().sum()),
                "squares": float(square.sum()),
            },
        )

    def _drawn(self, sample: Stored, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, for one or two latents: a function of the run's seed and the sample."""
        text = f"{self.series.seed} {sample.told['key']}".encode()
        seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big", signed=True)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator)
