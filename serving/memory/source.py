"""Where an expert comes from: first its weights, verified, and then a network around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from experts.flow import VelocityField

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Source:
    """One expert of one checkpoint.

    Attributes:
        key: of the checkpoint; sources of the same key are one expert, which is in memory once.
        expert: its number.
        checkpoint: its digest.
        num_bytes: that its weights take.
        read: brings them into this machine's memory, verified; raises whatever stands in the way.
        build: makes an expert of weights, wherever they are.
    """

    key: str
    expert: int
    checkpoint: str
    num_bytes: int
    read: Callable[[], Weights]
    build: Callable[[Weights], VelocityField]
