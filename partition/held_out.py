"""Which samples training never sees, so that a loss on them says what was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from partition.order import permuted

_KEY = 0x68656C64  # of no run: whatever its seed, a cluster's held-out samples are the same


def chosen(sizes: Sequence[int], num: int) -> NDArray[np.int64]:
    """Hold so many samples of each cluster out: those that a fixed permutation of it begins with.

    Args:
        sizes: samples of each cluster, which follow each other; each more than ``num``.
        num: of each.

    Returns:
        (H,), int64; cluster by cluster, those of each in an order of no meaning.
    """
    starts = accumulate(sizes, initial=0)
    return np.concatenate(
        [
            start + permuted(np.arange(num), size, _KEY)
            for start, size in zip(starts, sizes, strict=False)
        ]
    )


class Learnt:
    """Samples to learn from: those of a row of samples that are not held out.

    Args:
        num: samples in all, from 0.
        held: (H,), int64; which of them are held out.

    Attributes:
        num: how many are left.
    """

    def __init__(self, num: int, held: NDArray[np.int64]) -> None:
        self.num = num - len(held)
        self._before = np.sort(held) - np.arange(len(held))  # of them before each held out

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which samples stand at some places among those to learn from, both from 0."""
        return places + np.searchsorted(self._before, places, side="right")
