"""DDPM's schedules of noise: ``z_s = alpha_s x0 + sigma_s eps``, ``alpha_s^2 + sigma_s^2 = 1``.

There are 1000 steps s; between two of them log(alpha / sigma) runs straight.

Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), section 4, for
``linear``, which DiT has too; Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models
(arXiv 2102.09672), section 3.2, for ``cosine``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

NUM_STEPS = 1000
_FIRST_BETA, _LAST_BETA = 1e-4, 0.02
_OFFSET, _MOST_BETA = 0.008, 0.999  # of the cosine

ScheduleName = Literal["linear", "cosine"]


class NoiseSchedule(nn.Module):
    """How much of the image is left at each step.

    Attributes:
        signals: log(alpha_s / sigma_s) of each step, falling, (1000,) float32.
    """

    signals: Tensor

    def __init__(self, name: ScheduleName = "linear") -> None:
        super().__init__()
        remaining = (1 - _BETAS[name]()).cumprod(0)  # alpha_s^2
        ratio = (remaining / (1 - remaining)).log() / 2
        self.register_buffer("signals", ratio.float(), persistent=False)

    def signal_at(self, step: Tensor) -> Tensor:
        """log(alpha / sigma) at steps in [0, 999], with fractions, (B,)."""
        before = step.floor().long().clamp(0, NUM_STEPS - 2)
        low, high = self.signals[before], self.signals[before + 1]
        return low + (step - before) * (high - low)

    def step_of(self, signal: Tensor) -> Tensor:
        """The step, with fractions, at which log(alpha / sigma) is this, (B,)."""
        after = torch.searchsorted(-self.signals, -signal).clamp(1, NUM_STEPS - 1)
        low, high = self.signals[after - 1], self.signals[after]
        return after - 1 + (low - signal) / (low - high)


def _linear_betas() -> Tensor:
    return torch.linspace(_FIRST_BETA, _LAST_BETA, NUM_STEPS, dtype=torch.float64)


def _cosine_betas() -> Tensor:
    share = torch.arange(NUM_STEPS + 1, dtype=torch.float64) / NUM_STEPS
    remaining = torch.cos((share + _OFFSET) / (1 + _OFFSET) * math.pi / 2).square()
    return (1 - remaining[1:] / remaining[:-1]).clamp(max=_MOST_BETA)


_BETAS = {"linear": _linear_betas, "cosine": _cosine_betas}
