"""What a network learns to tell, on which path, and how a velocity comes of it.

Whatever that is, an expert is a velocity field of the linear path once it is trained, so that
experts of several objectives mix. Source: arXiv 2603.06741 for such ensembles.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from atoll.training_section import TrainingSection
from atoll.types import JobSpec, Role
from experts.converted import Converted, Told
from experts.dialect import OURS
from experts.flow import PathSample, VelocityField, linear_path, per_row
from experts.schedule import NUM_STEPS, NoiseSchedule, ScheduleName


class Objective(Protocol):
    """One thing to learn."""

    @property
    def told(self) -> dict[str, Any]:
        """How it stands in a checkpoint, for :func:`objective_in`."""
        ...

    def point(self, x0: Tensor, noise: Tensor, t: Tensor) -> PathSample:
        """Where a network is asked, and what it should answer.

        Args:
            x0: images, (B, C, H, W).
            noise: standard normal, (B, C, H, W).
            t: in [0, 1], as drawn, (B,): the share of the way to noise.
        """
        ...

    def weights(self, t: Tensor, most_snr: float) -> Tensor:
        """How much rows count so that an error of the image counts min(SNR, most_snr), (B,).

        The SNR is alpha^2 / sigma^2; a row's weight is that, or most_snr, times the square of how
        much the image is off for each that the answer is. Source: Hang et al., Min-SNR
        Weighting Strategy (arXiv 2303.09556), section 3.4.

        Args:
            t: the times that a network is told, (B,).
            most_snr: gamma.
        """
        ...

    def field(self, network: VelocityField, device: torch.device) -> VelocityField:
        """The velocity of the linear path that a network's answers stand for.

        Args:
            network: on ``device``, however much of it is there.
            device: where the field is asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Velocity:
    """The velocity of the linear path itself."""

    @property
    def told(self) -> dict[str, Any]:
        """See :class:`Objective`."""
        return {"objective": "velocity"}

    def point(self, x0: Tensor, noise: Tensor, t: Tensor) -> PathSample:
        """See :class:`Objective`."""
        return linear_path(x0, noise, t)

    def weights(self, t: Tensor, most_snr: float) -> Tensor:
        """See :class:`Objective`: x0 is off by t times what the velocity is."""
        return torch.minimum((1 - t).square(), most_snr * t.square())

    def field(
        self,
        network: VelocityField,
        device: torch.device,  # noqa: ARG002 - others have something to put there
    ) -> VelocityField:
        """See :class:`Objective`."""
        return network


VELOCITY = Velocity()


@functools.cache
def _schedule(name: ScheduleName) -> NoiseSchedule:
    """On the CPU, where points are made: one for all steps."""
    return NoiseSchedule(name)


@dataclass(frozen=True, slots=True)
class Diffusion:
    """The noise, or v, on a schedule of DDPM's; its steps are told with fractions.

    Attributes:
        target: what is told, see :class:`experts.converted.Converted`.
        schedule: of the noise.
    """

    target: Told
    schedule: ScheduleName

    @property
    def told(self) -> dict[str, Any]:
        """See :class:`Objective`."""
        return {"objective": self.target, "noise_schedule": self.schedule}

    def point(self, x0: Tensor, noise: Tensor, t: Tensor) -> PathSample:
        """See :class:`Objective`; ``t`` is the share of the steps."""
        step = (NUM_STEPS - 1) * t
        signal = per_row(_schedule(self.schedule).signal_at(step), x0)
        alpha, sigma = torch.sigmoid(2 * signal).sqrt(), torch.sigmoid(-2 * signal).sqrt()
        target = noise if self.target == "epsilon" else alpha * noise - sigma * x0
        return PathSample(alpha * x0 + sigma * noise, step / OURS.scale, target)

    def weights(self, t: Tensor, most_snr: float) -> Tensor:
        """See :class:`Objective`: x0 is off by sigma what v is, by sigma / alpha what eps is."""
        signal = _schedule(self.schedule).signal_at(OURS.scale * t)
        if self.target == "epsilon":
            return (most_snr * torch.exp(-2 * signal)).clamp(max=1)
        return torch.minimum(torch.sigmoid(2 * signal), most_snr * torch.sigmoid(-2 * signal))

    def field(self, network: VelocityField, device: torch.device) -> Converted:
        """See :class:`Objective`."""
        return Converted(network, self.target, NoiseSchedule(self.schedule).to(device))


def objective_of(training: TrainingSection, spec: JobSpec) -> Objective:
    """What a job learns: an expert what ``training.objectives`` has for it, if anything."""
    name, each = training.objective, training.objectives
    if spec.role is Role.EXPERT and each:
        name = each[spec.index % len(each)]
    return VELOCITY if name == "velocity" else Diffusion(name, training.noise_schedule)


def objective_in(about: Mapping[str, Any]) -> Objective:
    """What a checkpoint, or the file of an expert, says was learned."""
    if about["objective"] == "velocity":
        return VELOCITY
    return Diffusion(about["objective"], about.get("noise_schedule", "linear"))
