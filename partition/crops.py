"""To which of some sizes an image is brought, and which part of it is kept: once and for all.

Sources: NovelAI's aspect ratio bucketing; Podell et al., SDXL (arXiv 2307.01952), section 2.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction


def bucket_of(size: tuple[int, int], buckets: Sequence[tuple[int, int]]) -> int:
    """The bucket whose proportions are nearest to those of an image, by their logarithms.

    Args:
        size: height and width of the image.
        buckets: heights and widths; of two that are equally near the first is taken.
    """

    def away(bucket: tuple[int, int]) -> Fraction:  # exactly, so that equally near ones are equal
        ratio = Fraction(size[0] * bucket[1], size[1] * bucket[0])
        return max(ratio, 1 / ratio)

    return min(range(len(buckets)), key=lambda number: away(buckets[number]))


def crop_place(seed: int, key: str) -> float:
    """Where a sample is cropped, see :func:`partition.images.cropped`; once and for all."""
    digest = hashlib.sha256(f"{seed} {key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (2**48 - 1)
