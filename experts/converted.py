"""A velocity field out of a network that tells something else, on a schedule of DDPM's.

A point ``x_t`` of the linear path is ``z_s = alpha_s x0 + sigma_s eps`` but for its length, with
``alpha_s / sigma_s = (1 - t) / t``.

Source: for v, Salimans & Ho, Progressive Distillation (arXiv 2202.00512), appendix D.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from experts.dialect import OURS
from experts.flow import VelocityField, per_row
from experts.schedule import NoiseSchedule

Told = Literal["epsilon", "v"]


class Converted(nn.Module):
    """See :class:`experts.flow.VelocityField`.

    The schedule ends shortly before either end of the path: beyond, its last step is asked, and the
    velocity is that of the time it stands for, since that of a noise is divided by 1 - t.

    Args:
        network: from ``z_s`` and ``s / 1000`` to what it tells; times between steps are asked for.
        told: ``epsilon``, the noise; or ``v``, which is ``alpha_s eps - sigma_s x0``.
        schedule: that it was trained on.
    """

    def __init__(self, network: VelocityField, told: Told, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.network, self.told, self.schedule = network, told, schedule

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The velocity at a point of the linear path."""
        signals = self.schedule.signals
        signal = torch.logit(1 - t.float()).clamp(signals[-1], signals[0])
        t = per_row(torch.sigmoid(-signal), x_t)
        length = (t.square() + (1 - t).square()).sqrt()
        answer = self.network(x_t / length, self.schedule.step_of(signal) / OURS.scale, cond)
        if self.told == "epsilon":
            return (answer - x_t) / (1 - t)
        # In z: x0 = alpha z - sigma v and eps = sigma z + alpha v, of which the velocity is made.
        return ((2 * t - 1) * x_t / length + answer) / length
