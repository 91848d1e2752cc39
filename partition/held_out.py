"""Which samples training never sees, so that a loss on them says what was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from partition.order import permuted

_KEY = 0x68656C64  # of no run: whatever its seed, a cluster's held-out samples are the same


@dataclass(frozen=True, slots=True)
class Split:
    """Samples to learn from and samples to measure by.

    Attributes:
        held_out: (H,), int64; cluster by cluster, those of each in an order of no meaning.
        num_learnt: how many the others are.
    """

    held_out: NDArray[np.int64]
    num_learnt: int

    def learnt(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which samples stand at some places among those to learn from, both from 0."""
        if not len(self.held_out):
            return places
        held = np.sort(self.held_out)
        before = held - np.arange(len(held))  # samples to learn from that stand before each
        return places + np.searchsorted(before, places, side="right")


def split(sizes: Sequence[int], num: int) -> Split:
    """Hold so many samples of each cluster out: those that a fixed permutation of it begins with.

    Args:
        sizes: samples of each cluster, which follow each other; each more than ``num``.
        num: of each.
    """
    starts = accumulate(sizes, initial=0)
    parts = [
        start + permuted(np.arange(num), size, _KEY)
        for start, size in zip(starts, sizes, strict=False)
    ]
    return Split(np.concatenate(parts), sum(sizes) - num * len(sizes))
