"""Many small images as one that a person can look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_LEAST_SIDE = 48  # pixels
_LABEL_HEIGHT = 18
_INK, _WHITE = 30, 255


def enlarged(images: NDArray[np.uint8], least_side: int = _LEAST_SIDE) -> NDArray[np.uint8]:
    """Small images with every pixel repeated, so that one can see them; large ones as they are.

    Args:
        images: (N, H, W, C), uint8.
        least_side: pixels that the shorter side shall come close to.

    Returns:
        (N, fH, fW, C), uint8, with f a whole number.
    """
    factor = max(1, least_side // min(images.shape[1:3]))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def labelled(images: NDArray[np.uint8], labels: Sequence[str]) -> NDArray[np.uint8]:
    """Images with a line of text below each, cut off where the image ends.

    Args:
        images: (N, H, W, C), uint8.
        labels: one for each.

    Returns:
        (N, H + 18, W, C), uint8.
    """
    num, _, width, channels = images.shape
    font = ImageFont.load_default(12)
    lines = np.empty((num, _LABEL_HEIGHT, width, channels), np.uint8)
    for line, label in zip(lines, labels, strict=True):
        strip = Image.new("L", (width, _LABEL_HEIGHT), _WHITE)
        ImageDraw.Draw(strip).text((2, _LABEL_HEIGHT // 2), label, _INK, font, anchor="lm")
        line[:] = np.asarray(strip)[:, :, None]
    return np.concatenate([images, lines], axis=1)


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
