"""Many small images as one PNG."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partition.sheet import tiled


def grid_png(images: NDArray[np.uint8], columns: int) -> bytes:
    """Images row by row, with clear gaps that show the page behind them.

    Args:
        images: (N, H, W, 1 or 3), uint8.
        columns: images in a row.

    Returns:
        The bytes of a PNG.
    """
    opaque = np.full((*images.shape[:3], 1), 255, np.uint8)
    grid = tiled(np.concatenate([images, opaque], axis=3), columns, paper=0)
    buffer = io.BytesIO()
    Image.fromarray(grid, "LA" if grid.shape[2] == 2 else "RGBA").save(buffer, "png", optimize=True)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds the image itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
