"""The linear flow from data to noise, and what a network learns on it.

Time runs from t = 0 (data) to t = 1 (noise), everywhere in this project. On the linear path
``x_t = (1 - t) x0 + t eps`` the velocity is ``v = eps - x0``; sampling integrates t from 1 to 0.

Source: Lipman et al., Flow Matching (arXiv 2210.02747); McAllister et al., Decentralized Diffusion
Models (arXiv 2501.05450).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

PATH = "linear, t=0 data, t=1 noise"  # stands in every checkpoint's compat


class VelocityField(Protocol):
    """Anything that knows where a noised image is going: an expert, a guided one, an ensemble."""

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The velocity at a point of the flow.

        Args:
            x_t: noised images, (B, C, H, W), float.
            t: times in [0, 1], one a row, (B,), float.
            cond: what each row is conditioned on, see :mod:`experts.condition`; None without one.

        Returns:
            Velocity d x_t / d t, (B, C, H, W).
        """
        ...


@dataclass(frozen=True, slots=True)
class PathSample:
    """A point on a path between an image and a noise, and what is to be learned there.

    Attributes:
        x_t: (B, C, H, W).
        t: (B,), the time that a network is told.
        target: (B, C, H, W), what it should answer; on the linear path the velocity.
    """

    x_t: Tensor
    t: Tensor
    target: Tensor


def linear_path(x0: Tensor, noise: Tensor, t: Tensor) -> PathSample:
    """The point at time ``t`` on the straight line from ``x0`` to ``noise``.

    Args:
        x0: images, (B, C, H, W).
        noise: standard normal, (B, C, H, W).
        t: (B,).
    """
    at = per_row(t, x0)
    return PathSample(x_t=(1 - at) * x0 + at * noise, t=t, target=noise - x0)


def per_row(t: Tensor, like: Tensor) -> Tensor:
    """``t`` of shape (B,) shaped to multiply ``like`` of shape (B, ...)."""
    return t.reshape(-1, *[1] * (like.dim() - 1))


def flow_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared error of the velocity (B, C, H, W), averaged over each row: (B,)."""
    return F.mse_loss(predicted.float(), target, reduction="none").flatten(1).mean(1)


def seeded(device: torch.device, *parts: int) -> torch.Generator:
    """A generator that depends on its seeds alone, such as (run seed, step).

    Randomness that is a function of the step needs no state in a checkpoint, and is the same
    whatever was interrupted and however many ranks share the batch.
    """
    state = 0x9E3779B97F4A7C15
    for part in parts:
        # splitmix64's finaliser: neighbouring seeds give unrelated streams.
        state = (state + part * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return torch.Generator(device).manual_seed(state % 2**63)
