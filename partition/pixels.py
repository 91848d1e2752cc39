"""Between stored images and what the networks see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_unit(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images as networks take them.

    Args:
        images: (B, H, W, C), uint8.

    Returns:
        (B, C, H, W), float32 in [-1, 1].
    """
    channels_first = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    return channels_first.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(x: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Images as people see them; the inverse of :func:`to_unit`, clipped to the range.

    Args:
        x: (B, C, H, W), float, 0 is mid-grey.

    Returns:
        (B, H, W, C), uint8.
    """
    levels = np.rint((x + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(levels, 1, -1))
