"""Many small images as one PNG."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def grid_png(images: NDArray[np.uint8], columns: int) -> bytes:
    """Images row by row, with clear gaps that show the page behind them.

    Args:
        images: (N, H, W, 1 or 3), uint8.
        columns: images in a row.

    Returns:
        The bytes of a PNG.
    """
    num, height, width, channels = images.shape
    gap = max(1, height // 16)
    rows = -(-num // columns)
    canvas = np.zeros(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), np.uint8
    )
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        cell = canvas[top : top + height, left : left + width]
        cell[..., :channels], cell[..., channels] = image, 255
    buffer = io.BytesIO()
    Image.fromarray(canvas, "LA" if channels == 1 else "RGBA").save(buffer, "png", optimize=True)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds the image itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
