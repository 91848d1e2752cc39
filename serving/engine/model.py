"""What an engine draws from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from atoll.flops import Shape
from experts.condition import Conditioning
from experts.flow import VelocityField
from router.gate import Gate


class Experts(Protocol):
    """K experts, of which some may be in memory."""

    @property
    def num(self) -> int:
        """K."""
        ...

    @property
    def resident(self) -> Mapping[int, VelocityField]:
        """Those in memory as of now; whoever has taken this may call them, whatever comes."""
        ...

    @property
    def lost(self) -> Collection[int]:
        """Those that cannot be had."""
        ...

    def tell(
        self,
        used: Collection[int],
        wanted: Sequence[int],
        later: Sequence[int],
        soon: Sequence[int],
    ) -> None:
        """Say what happens; returns at once.

        Args:
            used: who has just been called.
            wanted: who is to be in memory now, the most urgent first.
            later: whom else images wait for, the most urgent first.
            soon: whom they are likely to wait for next, the likeliest first.
        """
        ...

    def spare(self, needed: Collection[int]) -> None:
        """Let go of those that are not needed just now: memory has run out."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What the engine draws from.

    Attributes:
        experts: K of them.
        gate: knows them apart.
        conditioning: what all are conditioned on.
        shape: channels, height and width of an image, unless another is asked for.
        device: where it computes.
        others: shapes that can be asked for besides.
    """

    experts: Experts
    gate: Gate
    conditioning: Conditioning
    shape: Shape
    device: torch.device
    others: tuple[Shape, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All of them."""
        return self.shape, *self.others
