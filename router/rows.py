"""What belongs to an image rather than to a step: its seed, and the expert it may be bound to.

It travels beside the batch, row by row, so that rows of different requests, at different steps, can
share one batch and each still be drawn as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

UNBOUND = -1  # the gate decides


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The state of each row of a batch.

    Attributes:
        seed: (B,) int64, the image's seed; all of its randomness follows from it.
        expert: (B,) int64, the one expert the row follows, or :data:`UNBOUND`. Ancestral selection
            binds a row before its first step; a row whose cluster is known beforehand (the oracle)
            is bound from the start. Bound rows cost no router pass.
    """

    seed: Tensor
    expert: Tensor

    @classmethod
    def of(cls, seeds: Sequence[int], device: torch.device) -> Rows:
        """Rows with these seeds, each free to go where its gate sends it."""
        seed = torch.tensor(seeds, dtype=torch.int64, device=device)
        return cls(seed, torch.full_like(seed, UNBOUND))

    def bound(self, expert: Tensor) -> Rows:
        """The same rows, following these experts, (B,)."""
        return replace(self, expert=expert)

    def __len__(self) -> int:
        return len(self.seed)

    def __getitem__(self, index: Tensor) -> Rows:
        return Rows(self.seed[index], self.expert[index])

    def image_uniform(self) -> Tensor:
        """One number in [0, 1) for each image, the same at every step: (B,) float64."""
        return _uniform(self.seed, torch.zeros_like(self.seed))

    def step_uniform(self, t: Tensor) -> Tensor:
        """A fresh number in [0, 1) for each image at each time, (B,) float64.

        It is a function of seed and time, so nobody need count steps.
        """
        # The bits of a positive time are a positive number, so never the salt of image_uniform.
        return _uniform(self.seed, t.double().view(torch.int64) + 1)


# The multipliers of splitmix64's finaliser (Steele, Lea & Flood, OOPSLA 2014), as signed numbers.
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def _uniform(seed: Tensor, salt: Tensor) -> Tensor:
    bits = _mixed(_mixed(seed + _SECOND) ^ salt)
    return _shifted(bits, 11).double() * 2.0**-53


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift right and fill with zeros; torch's own shift copies the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
