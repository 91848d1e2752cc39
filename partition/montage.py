"""One picture of a partition: a row of real samples for each cluster."""

from __future__ import annotations

import io
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from partition.images import decode_png, padded
from partition.sheet import enlarged

_COLUMNS = 16
_GAP = 4
_MARGIN = 150
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


class Montage:
    """Collects samples while they stream by, spread evenly over each cluster.

    Args:
        sizes: samples of each cluster.
        shown: height and width in which each is drawn, pixels.
    """

    def __init__(self, sizes: NDArray[np.int64], shown: tuple[int, int]) -> None:
        self._sizes, self._shown = sizes, shown
        self._seen = np.zeros_like(sizes)
        self._rows: dict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    def add(self, cluster: int, png: bytes) -> None:
        """Look at the next sample of a cluster, a PNG file; keep one out of size / columns."""
        row = self._rows[cluster]
        shown = min(_COLUMNS, int(self._sizes[cluster]))
        if len(row) < shown and self._seen[cluster] >= len(row) * self._sizes[cluster] // shown:
            row.append(padded(decode_png(png), self._shown))
        self._seen[cluster] += 1

    def as_png(self) -> bytes:
        """The picture: a row for each cluster, its number and size on the left."""
        rows = [enlarged(np.stack(self._rows[k])) for k in range(len(self._sizes))]
        _, height, width, _ = rows[0].shape
        sheet = Image.new(
            "RGB",
            (
                _MARGIN + _COLUMNS * (width + _GAP) + _GAP,
                len(self._sizes) * (height + _GAP) + _GAP,
            ),
            _PAPER,
        )
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(14)
        for cluster, size in enumerate(self._sizes):
            top = _GAP + cluster * (height + _GAP)
            label = f"cluster {cluster}\n{size:,} samples"
            draw.text((2 * _GAP, top + height // 2), label, _INK, font, anchor="lm")
            for column, pixels in enumerate(rows[cluster]):
                left = _MARGIN + column * (width + _GAP)
                sheet.paste(
                    Image.fromarray(np.broadcast_to(pixels, (height, width, 3))), (left, top)
                )
        buffer = io.BytesIO()
        sheet.save(buffer, "png")
        return buffer.getvalue()
