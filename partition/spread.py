"""How far the values of a data set spread, measured while its shards are written."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class Spread:
    """The standard deviation of all values of all images, in sums of whole numbers.

    So it is exact, and the same in whatever order the images come.
    """

    def __init__(self) -> None:
        self._num = self._sum = self._squares = 0

    def add(self, image: NDArray[np.uint8]) -> None:
        """Count an image, (H, W, C) uint8."""
        values = image.astype(np.int64)
        self._num += values.size
        self._sum += int(values.sum())
        self._squares += int(np.square(values).sum())

    @property
    def std(self) -> float:
        """As networks see the images, which is in [-1, 1]."""
        variance = self._num * self._squares - self._sum**2  # times num squared
        return math.sqrt(variance) / self._num / 127.5
