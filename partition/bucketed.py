"""The order of batches where images are of several buckets: each batch is of one of them.

Its epochs are those of all samples together. Where a bucket has n of them and a batch B, the bucket
has had floor(e n / B) batches before epoch e begins. So each is seen in proportion to its samples,
what is left of an epoch goes into the batches of the next, and a position is still one number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from partition.order import EndlessOrder, permuted


class BucketedOrder:
    """Batch after batch, and each bucket's samples in an endless order of their own.

    With a single bucket it is that endless order itself.

    Args:
        sizes: samples of each bucket; not all of them are 0.
        seed: chooses the order.
    """

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        self._sizes, self._seed = sizes, seed
        keys = [()] if len(sizes) == 1 else [(bucket,) for bucket in range(len(sizes))]
        self._orders = [
            EndlessOrder(size, seed, *key) for size, key in zip(sizes, keys, strict=True)
        ]

    def rows(self, cursor: int, size: int, first: int, last: int) -> tuple[int, NDArray[np.int64]]:
        """Some rows of a batch.

        Args:
            cursor: samples consumed before the batch; with several buckets a multiple of ``size``.
            size: samples of the whole batch.
            first: of the rows.
            last: the first one that is none of them.

        Returns:
            The bucket, and which of its samples they are, (last - first,) int64.

        Raises:
            ValueError: ``cursor`` lies within a batch, of several buckets.
        """
        bucket, start = 0, cursor
        if len(self._sizes) > 1:
            if cursor % size:
                raise ValueError(f"{cursor} samples are no whole number of batches of {size}")
            bucket, start = self._place(cursor // size, size)
        return bucket, self._orders[bucket].span(start + first, start + last)

    def _place(self, step: int, size: int) -> tuple[int, int]:
        """Of the batch of a step the bucket, and where it begins in the order of that."""
        epoch = self._epoch(step, size)
        before, after = self._done(epoch, size), self._done(epoch + 1, size)
        counts = [end - begin for begin, end in zip(before, after, strict=True)]
        visited = np.array([step - sum(before)])
        at = int(permuted(visited, sum(counts), self._seed, epoch)[0])
        ends = list(accumulate(counts))
        bucket = bisect_right(ends, at)
        number = before[bucket] + at - (ends[bucket] - counts[bucket])
        return bucket, number * size

    def _epoch(self, step: int, size: int) -> int:
        """The last one that has begun by a step; those before it may have no batch at all.

        All batches before epoch e are e N / B, less a part of a batch for each bucket.
        """
        total = sum(self._sizes)
        first = step * size // total
        candidates = range(first, (step + len(self._sizes)) * size // total + 1)
        begun = bisect_right(candidates, step, key=lambda epoch: sum(self._done(epoch, size)))
        return candidates[begun - 1]

    def _done(self, epoch: int, size: int) -> list[int]:
        """Batches of each bucket before an epoch."""
        return [epoch * each // size for each in self._sizes]
