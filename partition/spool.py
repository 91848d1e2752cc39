"""The samples of a source on this machine's disk: read from there once, however often they serve.

Whoever looks at them again need not ask a server again, nor decode and crop again, and cannot see
others than before.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partition.images import decode_png
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
        png: its image, as a PNG file.
        members: all that stands of it in a tar, see :func:`partition.shards.members`.
    """

    index: int
    key: str
    label: int | None
    png: bytes
    members: bytes


class Spool:
    """What an intake gives, kept in a file from the first time on.

    Args:
        intake: the samples.
        path: the file; not there yet.
        workers: who decodes what is read back.
    """

    def __init__(self, intake: Intake, path: Path, workers: Workers) -> None:
        self._intake, self._path, self._workers = intake, path, workers
        self._is_whole = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """See :attr:`partition.intake.Intake.shape`."""
        return self._intake.shape

    def images(self, num: int) -> Iterator[NDArray[np.uint8]]:
        """The images, (at most num, H, W, C) uint8 at a time.

        Raises:
            DataError: see :class:`partition.intake.Intake`; only the first time.
        """
        every = self._images()
        while batch := list(itertools.islice(every, num)):
            yield np.stack(batch)

    def __iter__(self) -> Iterator[Spooled]:
        """All samples, once their images have been looked at."""
        for png, about, whole in self._read():
            known = json.loads(about)
            yield Spooled(known["index"], known["key"], known["label"], png, whole)

    def _images(self) -> Iterator[NDArray[np.uint8]]:
        if self._is_whole:
            yield from self._workers.map(decode_png, (png for png, _, _ in self._read()))
            return
        with self._path.open("wb", _BUFFER) as file:
            for index, (sample, png) in enumerate(self._intake.with_pngs()):
                file.write(members(index, sample, png))
                yield sample.image
        self._is_whole = True

    def _read(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        with self._path.open("rb", _BUFFER) as file:
            yield from read_members(file)
