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

_LEAST_SIGNAL = -5.06  # log((1 - t) / t) at the last step of DDPM's linear schedule, t = 0.9937


class Converted(nn.Module):
    """See :class:`experts.flow.VelocityField`.

    The schedule ends shortly before either end of the path: beyond, its last step is asked, and the
    velocity is that of the time it stands for. That of a noise is divided by 1 - t, which is where
    an error grows; so a noise is asked for no nearer to pure noise than the linear schedule ends.

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
        return self.velocity(x_t, t, self.network(*self.asked(x_t, t), cond))

    def asked(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is asked about a point: ``z_s``, and ``s / 1000``."""
        signal, t = self._at(x_t, t)
        return x_t / _length(t), self.schedule.step_of(signal) / OURS.scale

    def velocity(self, x_t: Tensor, t: Tensor, answer: Tensor) -> Tensor:
        """The velocity at a point, of what the network tells there."""
        _, t = self._at(x_t, t)
        if self.told == "epsilon":
            return (answer - x_t) / (1 - t)
        # In z: x0 = alpha z - sigma v and eps = sigma z + alpha v, of which the velocity is made.
        length = _length(t)
        return ((2 * t - 1) * x_t / length + answer) / length

    def _at(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """How a step of the schedule is told, (B,), and the time it stands for, (B, 1, ...)."""
        most, least = self.schedule.signals[0], self.schedule.signals[-1]
        if self.told == "epsilon":
            least = least.clamp(min=_LEAST_SIGNAL)
        signal = torch.logit(1 - t.float()).clamp(least, most)
        return signal, per_row(torch.sigmoid(-signal), x_t)


def _length(t: Tensor) -> Tensor:
    return (t.square() + (1 - t).square()).sqrt()


def network_of(field: VelocityField) -> VelocityField:
    """The network behind a field, which tells something else where the field is converted."""
    return field.network if isinstance(field, Converted) else field
