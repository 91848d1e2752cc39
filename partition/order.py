"""The order of reading: a pure function of (seed, epoch, index) that needs no memory of its own.

A Feistel network is a permutation of the numbers below a power of two, whatever its round function;
walking its cycles until a number falls below ``num`` makes it one of exactly ``num`` numbers.

Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains (CT-RSA 2002), section 4 (cycle
walking) and section 5 (generalised Feistel).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6
_BLOCK = 1 << 16
_WORD = 1 << 64


def permuted(positions: NDArray[np.int64], num: int, *key: int) -> NDArray[np.int64]:
    """Where a permutation of 0 … num - 1 sends some positions.

    Args:
        positions: any shape, int64, each in [0, num).
        num: length of the permutation.
        key: numbers that choose the permutation, such as (seed, epoch).

    Returns:
        Same shape, int64, each in [0, num); distinct for distinct positions.
    """
    half_bits = max(1, ((num - 1).bit_length() + 1) // 2)
    round_keys = _round_keys(key)
    values = _feistel(positions.astype(np.uint64), half_bits, round_keys)
    outside = values >= num
    while outside.any():
        values[outside] = _feistel(values[outside], half_bits, round_keys)
        outside = values >= num
    return values.astype(np.int64)


class EndlessOrder:
    """Epoch after epoch of one data set, each in an order of its own.

    Args:
        num: samples in an epoch.
        seed: chooses the orders.
        more: numbers that give data sets of one run orders of their own.
    """

    def __init__(self, num: int, seed: int, *more: int) -> None:
        self._num = num
        self._key = (seed, *more)
        # A block serves many batches; two of them, for a batch that straddles both.
        self._block = functools.lru_cache(maxsize=2)(self._compute_block)

    def span(self, start: int, stop: int) -> NDArray[np.int64]:
        """Which samples stand at positions start … stop - 1 of the endless order, (n,) int64."""
        parts = [np.empty(0, np.int64)]
        while start < stop:
            epoch, within = divmod(start, self._num)
            block, offset = divmod(within, _BLOCK)
            parts.append(self._block(epoch, block)[offset : offset + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def _compute_block(self, epoch: int, block: int) -> NDArray[np.int64]:
        first = block * _BLOCK
        positions = np.arange(first, min(first + _BLOCK, self._num))
        return permuted(positions, self._num, *self._key, epoch)


def _feistel(
    values: NDArray[np.uint64], half_bits: int, round_keys: list[np.uint64]
) -> NDArray[np.uint64]:
    half, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> half, values & mask
    for key in round_keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _round_keys(key: tuple[int, ...]) -> list[np.uint64]:
    state = np.zeros(1, np.uint64)
    for part in key:
        state = _mixed(state + np.uint64((part * 0x9E3779B97F4A7C15 + 1) % _WORD))
    return [_mixed(state + np.uint64(number))[0] for number in range(1, _ROUNDS + 1)]
