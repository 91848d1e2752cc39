"""A source made uniform: one shape for all images, one rule for what cannot be read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from atoll.errors import DataError
from atoll.sections import DataSection
from partition.images import centre_square
from partition.sources import Sample, Source, Unreadable


class Intake:
    """The usable samples of a source, the same ones each time it is iterated.

    Args:
        source: where they come from.
        data: ``size`` and ``on_error`` of the configuration.

    Attributes:
        skipped: why something was left out, by its name.
        num_labels: one more than the largest label; 0 without labels.
        has_captions: whether any sample has a caption.

    The attributes are complete after one iteration.
    """

    def __init__(self, source: Source, data: DataSection) -> None:
        self._source = source
        self._data = data
        self._first: Sample | None = None
        self.skipped: dict[str, str] = {}
        self.num_labels = 0
        self.has_captions = False

    def __iter__(self) -> Iterator[Sample]:
        """Raises: DataError, naming the sample that does not fit and the mend."""
        for item in self._source:
            if isinstance(item, Unreadable):
                self._leave_out(item)
            else:
                sample = self._sized(item)
                self._refuse_odd(sample)
                if sample.label is not None:
                    self.num_labels = max(self.num_labels, sample.label + 1)
                self.has_captions |= sample.caption is not None
                yield sample

    def images(self, num: int) -> Iterator[NDArray[np.uint8]]:
        """The images alone, (at most num, H, W, C) uint8 at a time."""
        samples = iter(self)
        while batch := [sample.image for sample in itertools.islice(samples, num)]:
            yield np.stack(batch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of every image.

        Raises:
            DataError: there is no image.
        """
        first = self._first or next(iter(self), None)
        if first is None:
            raise DataError(f"data.source = {self._data.source!r} gives no samples")
        height, width, channels = first.image.shape
        return height, width, channels

    def _leave_out(self, item: Unreadable) -> None:
        if self._data.on_error == "refuse":
            raise DataError(
                f"{item.name} cannot be used: {item.reason}; mend or remove it, or set "
                'data.on_error = "skip" to leave such samples out'
            )
        self.skipped[item.name] = item.reason

    def _sized(self, sample: Sample) -> Sample:
        if self._data.size is None:
            return sample
        return dataclasses.replace(sample, image=centre_square(sample.image, self._data.size))

    def _refuse_odd(self, sample: Sample) -> None:
        first = self._first = self._first or sample
        if sample.image.shape != first.image.shape:
            raise DataError(
                f"{sample.key} is {_size(sample)} but {first.key} is {_size(first)}; set data.size "
                "to bring all images to one size"
            )
        if (sample.label is None) != (first.label is None):
            raise DataError(
                f"one of {first.key} and {sample.key} has a label and the other none; give all "
                "samples a label, or none"
            )
        num_classes = len(self._source.class_names)
        if sample.label is not None and not 0 <= sample.label < (num_classes or np.inf):
            raise DataError(
                f"{sample.key} has label {sample.label}; labels begin at 0"
                + (f" and there are {num_classes} class names" if num_classes else "")
            )


def _size(sample: Sample) -> str:
    height, width, channels = sample.image.shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"
