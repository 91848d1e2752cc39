"""The handwritten digits that come with scikit-learn: 1797 grey images of 8 by 8 pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from partition.sources.sample import Sample

_MAX_LEVEL = 16


class DigitsSource:
    """Digits with levels 0 … 16 spread over 0 … 255."""

    class_names = tuple("0123456789")

    def __iter__(self) -> Iterator[Sample]:
        """See :class:`~partition.sources.sample.Source`."""
        from sklearn.datasets import load_digits  # noqa: PLC0415 - other sources never wait for it

        digits = load_digits()
        levels = np.rint(digits.images * (255 / _MAX_LEVEL)).astype(np.uint8)
        for index, (image, label) in enumerate(zip(levels, digits.target, strict=True)):
            yield Sample(f"digit-{index:04d}", image[..., None], int(label))
