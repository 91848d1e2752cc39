"""How far the values of a data set spread, measured while its images pass by."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from partition.intake import Images


class Spread:
    """The standard deviation of all values of all images, in sums of whole numbers.

    So it is exact, and the same in whatever order the images come.
    """

    def __init__(self) -> None:
        self._num = self._sum = self._squares = 0

    def over(self, images: Images) -> Images:
        """The same images, counted as they are asked for."""
        return _Counted(images, self)

    def add(self, images: NDArray[np.uint8]) -> None:
        """Count some images, (B, H, W, C) uint8."""
        values = images.astype(np.int64)
        self._num += values.size
        self._sum += int(values.sum())
        self._squares += int(np.square(values).sum())

    @property
    def std(self) -> float:
        """As networks see the images, which is in [-1, 1]."""
        variance = self._num * self._squares - self._sum**2  # times num squared
        return math.sqrt(variance) / self._num / 127.5


class _Counted:
    """See :meth:`Spread.over`."""

    def __init__(self, images: Images, spread: Spread) -> None:
        self._images, self._spread = images, spread

    @property
    def shape(self) -> tuple[int, int, int]:
        """See :class:`partition.intake.Images`."""
        return self._images.shape

    def images(self, num: int, most: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """See :class:`partition.intake.Images`."""
        for batch in self._images.images(num, most):
            self._spread.add(batch)
            yield batch
