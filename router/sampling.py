"""Images from seeds: the same seed gives the same image, whatever it is drawn together with.

An image's noise and all its later draws follow from its seed alone, made on the CPU, so neither the
batch nor the device decides them. What remains is rounding: matrix products add up in another order
in batches of other sizes, which moves a velocity by about one part in a million. Bits are the same
for the same batches. Groups are not padded to one size to hide that: an expert's share of a batch
changes at every step, and padding it would undo the grouping.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.errors import ConfigError
from atoll.flops import Shape
from atoll.sections import SamplingSection
from experts.condition import Conditioning
from experts.decoding import Decoder, decode_pixels
from experts.flow import seeded
from experts.solvers import integrate
from router.ensemble import Ensemble
from router.guidance import Guided
from router.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Which images are to be drawn.

    Attributes:
        seeds: one for each image.
        cond: what each image is conditioned on, N rows; None without a condition.
        experts: (N,) int64, the cluster each image is to come from where that is known beforehand,
            which makes the ensemble an oracle; None leaves it to the gate.
        shape: channels, height and width of what is painted; None for the sampler's own.
    """

    seeds: Sequence[int]
    cond: Tensor | None
    experts: Tensor | None = None
    shape: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """An ensemble and the space it paints in.

    Attributes:
        ensemble: experts, gate and selection.
        conditioning: what the ensemble is conditioned on.
        shape: channels, height and width of what it paints unless another is wanted.
        device: where it computes.
        decode: makes images of what it arrives at.
    """

    ensemble: Ensemble
    conditioning: Conditioning
    shape: Shape
    device: torch.device
    decode: Decoder = decode_pixels

    def draw(self, wanted: Wanted, settings: SamplingSection) -> NDArray[np.uint8]:
        """All wanted images, (N, H, W, C) uint8; see :meth:`batches`."""
        return np.concatenate([self.decode(x0) for x0 in self.batches(wanted, settings)])

    def batches(self, wanted: Wanted, settings: SamplingSection) -> Iterator[Tensor]:
        """The wanted images in order, some at a time.

        Args:
            wanted: which.
            settings: solver, steps, guidance and batch size; the strategy is the ensemble's own.

        Yields:
            (B, C, H, W) float32, as networks see samples; B is ``settings.batch_size`` or, at the
            end, less.

        Raises:
            BadInput: the condition is not of the ensemble's kind.
            ConfigError: guidance is asked of an ensemble without a condition.
        """
        self.conditioning.check(wanted.cond)
        if self.conditioning.kind == "none" and settings.guidance != 1:
            raise ConfigError(
                f"sampling.guidance = {settings.guidance:g} needs a condition, and this ensemble "
                "was trained without one; set it to 1"
            )
        for start in range(0, len(wanted.seeds), settings.batch_size):
            part = slice(start, start + settings.batch_size)
            yield self._integrated(
                Wanted(
                    wanted.seeds[part],
                    None if wanted.cond is None else wanted.cond[part].to(self.device),
                    None if wanted.experts is None else wanted.experts[part].to(self.device),
                    wanted.shape,
                ),
                settings,
            )

    @torch.inference_mode()
    def _integrated(self, wanted: Wanted, settings: SamplingSection) -> Tensor:
        noise = noise_of(wanted.seeds, wanted.shape or self.shape).to(self.device)
        rows = Rows.of(wanted.seeds, self.device)
        if wanted.experts is not None:
            rows = rows.bound(wanted.experts)
        rows = self.ensemble.begin(noise, wanted.cond, rows)
        scale = torch.full((len(noise),), settings.guidance, device=self.device)
        guided = Guided(self.ensemble, self.conditioning, scale)
        field = functools.partial(guided, rows=rows)
        return integrate(field, noise, wanted.cond, steps=settings.steps, solver=settings.solver)


def noise_of(seeds: Sequence[int], shape: Shape) -> Tensor:
    """The noise each image begins as, (N, C, H, W) float32 on the CPU."""
    cpu = torch.device("cpu")
    return torch.stack([torch.randn(shape, generator=seeded(cpu, seed)) for seed in seeds])
