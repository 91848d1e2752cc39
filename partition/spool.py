"""The samples of a source on this machine's disk: read from there once, however often they serve.

Whoever looks at them again need not ask a server again, nor decode and crop again, and cannot see
others than before.
"""

from __future__ import annotations

import functools
import itertools
import json
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partition.images import decode_png, squeezed
from partition.intake import Intake
from partition.shards import members, read_members
from partition.workers import Workers

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Spooled:
    """A sample on its way to a shard.

    Attributes:
        index: its position in the data set.
        key: its name there.
        label: None without classes.
        bucket: whose size its image has.
        png: its image, as a PNG file.
        members: all that stands of it in a tar, see :func:`partition.shards.members`.
    """

    index: int
    key: str
    label: int | None
    bucket: int
    png: bytes
    members: bytes


class Spool:
    """What an intake gives, kept in a file.

    Args:
        intake: the samples; gone through once, here.
        path: the file; not there yet.
        workers: who decodes what is read back.
        progress: called with the number of samples read.

    Attributes:
        shape: height, width, channels of every image; of those of the first bucket.
        buckets: of each sample, whose size its image has.

    Raises:
        DataError: see :class:`partition.intake.Intake`.
    """

    def __init__(
        self, intake: Intake, path: Path, workers: Workers, progress: Callable[[int], None]
    ) -> None:
        self._path, self._workers = path, workers
        self.shape = intake.shape
        bucket_of = {size: bucket for bucket, size in enumerate(intake.sizes)}
        self._num, buckets = 0, array("i")
        with path.open("wb", _BUFFER) as file:
            for sample, png in intake.with_pngs():
                file.write(members(self._num, sample, png))
                buckets.append(bucket_of[sample.image.shape[:2]])
                self._num += 1
                progress(self._num)
        self.buckets = np.frombuffer(buckets, np.int32)

    def __len__(self) -> int:
        """Number of samples."""
        return self._num

    def images(self, num: int, most: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """See :meth:`partition.intake.Images.images`."""
        pngs = (png for png, _, _ in self._read(most))
        every = self._workers.map(functools.partial(_seen, size=self.shape[:2]), pngs)
        while batch := list(itertools.islice(every, num)):
            yield np.stack(batch)

    def __iter__(self) -> Iterator[Spooled]:
        """All samples."""
        for png, about, whole in self._read(None):
            known = json.loads(about)
            bucket = int(self.buckets[known["index"]])
            yield Spooled(known["index"], known["key"], known["label"], bucket, png, whole)

    def _read(self, most: int | None) -> Iterator[tuple[bytes, bytes, bytes]]:
        shown = self._num if most is None else min(most, self._num)
        with self._path.open("rb", _BUFFER) as file:
            for index, sample in enumerate(read_members(file)):
                # As many as are wanted, spread evenly.
                if (index + 1) * shown // self._num > index * shown // self._num:
                    yield sample


def _seen(png: bytes, *, size: tuple[int, int]) -> NDArray[np.uint8]:
    return squeezed(decode_png(png), size)
