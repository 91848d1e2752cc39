"""What a person can watch during training: curves, and grids of samples."""

from __future__ import annotations

import logging

from torch import Tensor

from experts.decoding import Decoder, decode_pixels
from experts.watching.canvas import Canvas
from experts.watching.history import Point
from partition.images import encode_png
from partition.sheet import enlarged, tiled

logger = logging.getLogger(__name__)


class Board:
    """The board of one job.

    Args:
        canvas: what it is drawn on.
        decode: makes images of what a network has drawn.
    """

    def __init__(self, canvas: Canvas, decode: Decoder = decode_pixels) -> None:
        self._canvas, self._decode = canvas, decode

    def plot(self, point: Point) -> None:
        """Add a point to each curve."""
        self._canvas.plot(point.curves, point.step)

    def show(self, images: Tensor, step: int) -> bytes | None:
        """Show what a network has drawn, see :meth:`experts.task.Task.grid`.

        Returns:
            The grid as a PNG; None where it cannot be decoded, which is no reason to stop training.
        """
        try:
            pixels = self._decode(images)
        except Exception:  # whatever an autoencoder raises, memory that runs out among it
            logger.exception("no grid: not decoded", extra={"fields": {"step": step}})
            return None
        grid = tiled(enlarged(pixels))
        self._canvas.hang("samples", grid, step)
        return encode_png(grid)
