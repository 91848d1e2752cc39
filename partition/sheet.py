"""Many small images as one that a person can look at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_LEAST_SIDE = 48  # pixels
_WHITE = 255


def enlarged(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small images with every pixel repeated, so that one can see them; large ones as they are.

    Args:
        images: (N, H, W, C), uint8.

    Returns:
        (N, fH, fW, C), uint8, with f a whole number.
    """
    factor = max(1, _LEAST_SIDE // min(images.shape[1:3]))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def tiled(
    images: NDArray[np.uint8], columns: int | None = None, paper: int = _WHITE
) -> NDArray[np.uint8]:
    """Images row by row, with narrow gaps between them.

    Args:
        images: (N, H, W, C), uint8, N at least 1.
        columns: images in a row; None makes about as many rows.
        paper: level of the gaps, and of the places that are left over.

    Returns:
        (height, width, C), uint8.
    """
    num, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(num))
    rows, gap = math.ceil(num / columns), max(1, height // 16)
    places = ((0, rows * columns - num), (0, gap), (0, gap), (0, 0))
    cells = np.pad(images, places, constant_values=paper)
    grid = cells.reshape(rows, columns, height + gap, width + gap, channels).swapaxes(1, 2)
    return grid.reshape(rows * (height + gap), columns * (width + gap), channels)[:-gap, :-gap]
