"""A velocity field out of a network that was trained to tell the noise, on DDPM's schedule.

There ``z_s = alpha_s x0 + sigma_s eps`` with ``alpha_s^2 + sigma_s^2 = 1``. A point ``x_t`` of the
linear path is such a ``z_s`` but for its length, with ``alpha_s / sigma_s = (1 - t) / t``.

Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), section 4, for the
schedule, which DiT has too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experts.dialect import OURS
from experts.flow import VelocityField, per_row

_NUM_STEPS, _FIRST_BETA, _LAST_BETA = 1000, 1e-4, 0.02


class EpsilonField(nn.Module):
    """See :class:`experts.flow.VelocityField`.

    The schedule ends shortly before either end of the path: beyond, its last step is asked, and the
    velocity is that of the time it stands for, since the formula divides by 1 - t.

    Args:
        network: from ``z_s`` and ``s / 1000`` to the noise; times between steps are asked for.
    """

    signal: Tensor

    def __init__(self, network: VelocityField) -> None:
        super().__init__()
        self.network = network
        betas = torch.linspace(_FIRST_BETA, _LAST_BETA, _NUM_STEPS, dtype=torch.float64)
        remaining = (1 - betas).cumprod(0)  # alpha_s^2
        ratio = (remaining / (1 - remaining)).log() / 2  # log of alpha_s / sigma_s, falling with s
        self.register_buffer("signal", ratio.float(), persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The velocity at a point of the linear path."""
        signal = torch.logit(1 - t.float()).clamp(self.signal[-1], self.signal[0])
        t = per_row(torch.sigmoid(-signal), x_t)
        length = (t.square() + (1 - t).square()).sqrt()
        noise = self.network(x_t / length, self.step_of(signal) / OURS.scale, cond)
        return (noise - x_t) / (1 - t)

    def step_of(self, signal: Tensor) -> Tensor:
        """The step, with fractions, at which log(alpha / sigma) is this, (B,)."""
        rising = -self.signal
        after = torch.searchsorted(rising, -signal).clamp(1, _NUM_STEPS - 1)
        low, high = self.signal[after - 1], self.signal[after]
        return after - 1 + (low - signal) / (low - high)
