"""A source made uniform: one shape for all images, or a few, one rule for what cannot be used."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atoll.errors import DataError
from atoll.image_size import name_of
from atoll.sections import DataSection
from partition.crops import bucket_of, crop_place
from partition.images import cropped, encode_png
from partition.sources import Pending, Sample, Source, Unreadable
from partition.sources.webdataset import holds_tars
from partition.workers import Workers

_NO_PIXELS = np.empty((0, 0, 0), np.uint8)
_MOST_CLASSES = 1_000_000  # each has a name and numbers of its own in every network
_AT_HAND = frozenset({"digits", "npz"})  # sources of arrays: what they give needs no decoding


def workers_for(data: DataSection) -> Workers:
    """Who decodes: as many processes as the configuration says, or as are worth their start."""
    return Workers(0 if data.workers is None and data.source in _AT_HAND else data.workers)


class Images(Protocol):
    """Images of one shape that can be gone through again and again.

    Where those of a run are of several buckets, each is brought as a whole to the first one's size.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        ...

    def images(self, num: int, most: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """The images, in their order.

        Args:
            num: at a time.
            most: in all, spread evenly; None for every one.

        Returns:
            (at most num, H, W, C), uint8, at a time.
        """
        ...


class Intake:
    """The usable samples of a source, the same ones each time it is iterated.

    Args:
        source: where they come from.
        data: ``size``, ``buckets``, ``crop`` and ``on_error`` of the configuration.
        workers: who decodes; None for this process alone.
        needs_captions: whether a sample without a caption cannot be used.
        seed: of the run; random crops follow from it.

    Attributes:
        skipped: what was left out, and why.
        num_labels: one more than the largest label; 0 without labels.
        has_captions: whether any sample has a caption.
        num_without_caption: usable samples without one.
        num_words: captions by how many words they have.

    The attributes are complete after one iteration.
    """

    def __init__(
        self,
        source: Source,
        data: DataSection,
        workers: Workers | None = None,
        *,
        needs_captions: bool = False,
        seed: int = 0,
    ) -> None:
        self._source = source
        self._data = data
        self._workers = workers or Workers(0)
        self._needs_captions = needs_captions
        self._sizes = data.buckets or (((data.size, data.size),) if data.size else ())
        self._crop_seed = seed if data.crop == "random" else None
        self._first: Sample | None = None
        self._without_caption: str | None = None
        self.skipped: list[Unreadable] = []
        self.num_labels = 0
        self.has_captions = False
        self.num_without_caption = 0
        self.num_words = Counter[int]()

    def __iter__(self) -> Iterator[Sample]:
        """Raises: DataError, naming the sample that does not fit and the mend."""
        return (sample for sample, _ in self._taken(with_png=False))

    def with_pngs(self) -> Iterator[tuple[Sample, bytes]]:
        """The same samples, each with its image as a PNG file, made where it was decoded.

        The samples' own images have no pixels, which would be sent from one process to another for
        nothing: zeros of the same shape, and of no size in memory.
        """
        return self._taken(with_png=True)

    def _taken(self, *, with_png: bool) -> Iterator[tuple[Sample, bytes]]:
        self.skipped, self.num_without_caption, self.num_words = [], 0, Counter()
        prepare = functools.partial(
            _prepared, sizes=self._sizes, crop_seed=self._crop_seed, with_png=with_png
        )
        for item, shape, png in self._workers.map(prepare, self._source):
            if isinstance(item, Unreadable):
                self._leave_out(item)
                continue
            sample = item
            if with_png:
                sample = dataclasses.replace(item, image=np.broadcast_to(np.uint8(0), shape))
            if not self._lacks_caption(sample):
                self._refuse_odd(sample)
                if sample.label is not None:
                    self.num_labels = max(self.num_labels, sample.label + 1)
                self.num_without_caption += not sample.caption
                if sample.caption:
                    self.num_words[len(sample.caption.split())] += 1
                yield sample, png

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """Heights and widths that images have; raises as :attr:`shape`."""
        return self._sizes or (self.shape[:2],)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of every image; of those of the first bucket.

        Raises:
            DataError: there is no image.
        """
        first = self._first or next(iter(self), None)
        if first is None:
            raise DataError(f"data.source = {self._data.source!r} gives no samples{self._why()}")
        height, width, channels = first.image.shape
        return (*(self._sizes or ((height, width),))[0], channels)

    def _why(self) -> str:
        """Why there is no sample, as the end of a sentence."""
        if not self.skipped:
            path = self._data.path or ""
            tars = self._data.source == "folder" and holds_tars(Path(path))
            mend = '; tars are read with data.source = "webdataset"' if tars else ""
            return f": there are none in data.path = {path!r}{mend}"
        one = self.skipped[0]
        num = len(self.skipped)
        return f" that can be used: {num:,} were left out, as {one.name}: {one.reason}"

    def _leave_out(self, item: Unreadable) -> None:
        if self._data.on_error == "refuse":
            raise DataError(
                f"{item.name} cannot be used: {item.reason}; mend or remove it, or set "
                'data.on_error = "skip" to leave such samples out'
            )
        self.skipped.append(item)

    def _lacks_caption(self, sample: Sample) -> bool:
        """Whether it is to be left out because others have captions, and it has none.

        Data without any are told of once that is known: by :func:`atoll.fit.refuse_condition`.
        """
        if not self._needs_captions or sample.caption:
            self.has_captions |= sample.caption is not None
        elif self._data.on_error == "skip":
            self.skipped.append(Unreadable(sample.key, "it has no caption"))
            return True
        else:
            self._without_caption = self._without_caption or sample.key
        if self.has_captions and self._without_caption:
            raise DataError(
                f"{self._without_caption} has no caption, and others have: expert.condition = "
                '"text" learns from captions; give it one, or set data.on_error = "skip" to leave '
                "such samples out"
            )
        return False

    def _refuse_odd(self, sample: Sample) -> None:
        first = self._first = self._first or sample
        alike, mend = slice(3), "set data.size to bring all to one, or data.buckets to a few"
        if self._sizes:
            alike, mend = slice(2, 3), "give all images the same channels"
        if sample.image.shape[alike] != first.image.shape[alike]:
            raise DataError(
                f"{sample.key} is {_size(sample)} but {first.key} is {_size(first)}; {mend}"
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
        if sample.label is not None and sample.label >= _MOST_CLASSES:
            raise DataError(
                f"{sample.key} has label {sample.label}; labels are numbers of classes, below "
                f"{_MOST_CLASSES:,}; number the classes from 0"
            )


def _size(sample: Sample) -> str:
    height, width, channels = sample.image.shape
    return f"{name_of(height, width)} with {channels} channel{'s' if channels > 1 else ''}"


def _prepared(
    item: Sample | Unreadable | Pending,
    *,
    sizes: Sequence[tuple[int, int]],
    crop_seed: int | None,
    with_png: bool,
) -> tuple[Sample | Unreadable, tuple[int, ...], bytes]:
    """An item decoded and cropped, the shape of its image, and a PNG file in place of its pixels.

    Without ``with_png`` the pixels are kept, and there is no file.
    """
    found = item.read() if isinstance(item, Pending) else item
    if isinstance(found, Unreadable):
        return found, (), b""
    for what, text in (("name", found.key), ("caption", found.caption or "")):
        if not _is_text(text):
            name = found.key.encode(errors="backslashreplace").decode()
            return Unreadable(name, f"its {what} is not UTF-8"), (), b""
    if found.caption is not None:  # of blanks alone it is none
        found = dataclasses.replace(found, caption=found.caption.strip())
    if sizes:
        size = sizes[bucket_of(found.image.shape[:2], sizes)]
        place = 0.5 if crop_seed is None else crop_place(crop_seed, found.key)
        found = dataclasses.replace(found, image=cropped(found.image, size, place))
    shape = found.image.shape
    if not with_png:
        return found, shape, b""
    return dataclasses.replace(found, image=_NO_PIXELS), shape, encode_png(found.image)


def _is_text(text: str) -> bool:
    """Whether it can be written: names of files, and JSON, may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
