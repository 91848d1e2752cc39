"""At which times a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from atoll.errors import ConfigError
from atoll.training_section import TrainingSection
from partition.manifest import Partition


@dataclass(frozen=True, slots=True)
class TimeDensity:
    """How training times are drawn.

    Attributes:
        kind: ``uniform``; ``logit-normal``, the logistic of a normal (Esser et al., arXiv
            2403.03206, section 3.1); ``shifted``, uniform moved towards noise (section 5.3.2).
        shift: for ``shifted``; 1 is uniform, more than 1 favours noise.
        mean: for ``logit-normal``, of the logit.
        std: for ``logit-normal``, of the logit.
    """

    kind: Literal["uniform", "logit-normal", "shifted"] = "uniform"
    shift: float = 1.0
    mean: float = 0.0
    std: float = 1.0

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        """Draw times, (num,) float32 in [0, 1], on the generator's device."""
        if self.kind == "logit-normal":
            normal = torch.randn(num, generator=generator, device=generator.device)
            return torch.sigmoid(self.mean + self.std * normal)
        t = torch.rand(num, generator=generator, device=generator.device)
        if self.kind == "shifted":
            return self.shift * t / (1 + (self.shift - 1) * t)
        return t


def times_of(training: TrainingSection, partition: Partition) -> TimeDensity:
    """The density that ``training.times`` names.

    ``snr`` chooses log-SNRs, ``2 log(sigma_data (1 - t) / t)`` with the data's standard deviation,
    from a normal of mean ``-2 times_mean`` and standard deviation ``2 times_std``: a logit-normal
    moved by ``log(sigma_data)``. Images of another contrast, or latents of another scale, are then
    learned at the same noise. Source: Yao et al., FasterDiT (arXiv 2410.10356), which keeps the
    density and scales the data instead.

    Raises:
        ConfigError: ``snr`` is asked for, and nothing tells how far the data spread.
    """
    mean, std, shift = training.times_mean, training.times_std, training.times_shift
    if training.times == "snr":
        mean += math.log(_std_of(partition))
        return TimeDensity("logit-normal", mean=mean, std=std)
    return TimeDensity(training.times, shift, mean, std)


def _std_of(partition: Partition) -> float:
    """Of what networks see."""
    std = partition.std if partition.latents is None else partition.latents.std
    if not std:
        raise ConfigError(
            'training.times = "snr" wants images whose values differ, and a partition that was '
            'made since their spread is measured; set it to "logit-normal", or run `atoll '
            "partition` under a run.uri of its own"
        )
    return std
