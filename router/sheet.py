"""Images side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_SIDE = 48  # pixels; smaller images are enlarged so that one can see them
_GAP = 4
_PAPER = 255


def contact_sheet(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images row by row, about as many across as down.

    Args:
        images: (N, H, W, C), uint8, N at least 1.

    Returns:
        (height, width, C), uint8.
    """
    num, height, width, channels = images.shape
    columns = int(np.ceil(num**0.5))
    rows = -(-num // columns)
    factor = max(1, _LEAST_SIDE // min(height, width))
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    cell_height, cell_width = height * factor + _GAP, width * factor + _GAP
    sheet = np.full((rows * cell_height + _GAP, columns * cell_width + _GAP, channels), _PAPER)
    for index, image in enumerate(large):
        top, left = index // columns * cell_height + _GAP, index % columns * cell_width + _GAP
        sheet[top : top + len(image), left : left + image.shape[1]] = image
    return sheet.astype(np.uint8)
