"""What is in a set of samples: looked at once, on every core, in memory that hardly grows.

Names are kept in a file; of each sample eight bytes of a hash stay in memory, and some hundred for
the moment in which equal ones are looked for. What is broken is kept by name and reason.
"""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from partition.duplicates import find_duplicates
from partition.rowfile import RowFile
from partition.sources import Pending, Sample, Unreadable
from partition.workers import Workers

SHOWN = 64  # images of a montage, and captions
_SIDE = 64  # of an image there, pixels
_THUMB = 8  # side of what near-duplicates are told by, pixels
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of one sample.

    Attributes:
        key: its name.
        label: None without classes.
        caption: None without captions.
        shape: height and width.
        digest: of its pixels and shape, 64 bits.
        thumb: (8 * 8 * 3,), float32 in [0, 1].
        small: (64, 64, 3), uint8, on white.
    """

    key: str
    label: int | None
    caption: str | None
    shape: tuple[int, int]
    digest: int
    thumb: NDArray[np.float32]
    small: NDArray[np.uint8]


class Thinned(Generic[_T]):
    """Some of a stream whose length nobody knows: each with the same chance, always the same ones.

    Every n-th would be of one kind where kinds take turns. Source: Vitter, Random Sampling with a
    Reservoir (ACM TOMS 1985), algorithm R.

    Args:
        most: that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0
        self._draw = random.Random(0)  # noqa: S311 - no secret
        self._kept: list[tuple[int, _T]] = []

    def add(self, item: _T) -> None:
        """Look at the next one."""
        if self._seen < self._most:
            self._kept.append((self._seen, item))
        elif (place := self._draw.randrange(self._seen + 1)) < self._most:
            self._kept[place] = self._seen, item
        self._seen += 1

    @property
    def items(self) -> list[_T]:
        """Those that were kept, in their order."""
        return [item for _, item in sorted(self._kept, key=lambda kept: kept[0])]


@dataclass(frozen=True, slots=True)
class Alike:
    """A sample that is the same as another, or nearly: their names, and the cosine between them."""

    name: str
    like: str
    similarity: float


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        num_samples: that can be read.
        shapes: how many samples have which height and width.
        labels: how many samples have which; empty without labels.
        num_captions: samples with a caption that is not empty.
        captions: some of them with the names of their samples.
        broken: what cannot be read, and why; of one name there may be several.
        same: samples with the pixels of an earlier one.
        near: others that are nearly the same as another one.
        shown: some samples.
    """

    num_samples: int = 0
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    labels: Counter[int] = field(default_factory=Counter)
    num_captions: int = 0
    captions: Thinned[tuple[str, str]] = field(default_factory=lambda: Thinned(SHOWN))
    broken: list[Unreadable] = field(default_factory=list)
    same: list[Alike] = field(default_factory=list)
    near: list[Alike] = field(default_factory=list)
    shown: Thinned[Look] = field(default_factory=lambda: Thinned(SHOWN))


def look_at(
    items: Iterable[Sample | Unreadable | Pending],
    workers: Workers,
    scratch: Path,
    epsilon: float,
    progress: Callable[[int], None] = lambda _: None,
) -> Findings:
    """Go through samples and tell what they are.

    Args:
        items: a source.
        workers: who decodes.
        scratch: a folder for what is too large for memory.
        epsilon: near-duplicates are samples whose thumbnails, less the mean of all, have a cosine
            above 1 - epsilon.
        progress: called with the number of samples seen.

    Raises:
        DataError: a source gives up.
    """
    found, digests = Findings(), array("Q")
    thumbs = RowFile(scratch / "thumbs", _THUMB * _THUMB * 3)
    with (scratch / "names").open("w", encoding="ascii") as names:
        for look in workers.map(_look, items):
            if isinstance(look, Unreadable):
                found.broken.append(look)
                continue
            names.write(json.dumps(look.key) + "\n")
            digests.append(look.digest)
            thumbs.append(look.thumb[None])
            _count(found, look)
            progress(found.num_samples)
    _tell_alike(found, np.array(digests, np.uint64), thumbs, scratch, epsilon)
    return found


def _look(item: Sample | Unreadable | Pending) -> Look | Unreadable:
    sample = item.read() if isinstance(item, Pending) else item
    if isinstance(sample, Unreadable):
        return sample
    height, width, _ = sample.image.shape
    hashed = hashlib.sha256(repr(sample.image.shape).encode() + sample.image.tobytes()).digest()
    colour = Image.fromarray(
        np.ascontiguousarray(np.broadcast_to(sample.image, (height, width, 3)))
    )
    thumb = colour.resize((_THUMB, _THUMB), Image.Resampling.BOX)
    resized = Image.Resampling.NEAREST if max(height, width) < _SIDE else Image.Resampling.BICUBIC
    return Look(
        key=sample.key,
        label=sample.label,
        caption=None if sample.caption is None else sample.caption.strip(),
        shape=(height, width),
        digest=int.from_bytes(hashed[:8], "big"),
        thumb=np.asarray(thumb, np.float32).reshape(-1) / np.float32(255),
        small=np.asarray(ImageOps.pad(colour, (_SIDE, _SIDE), resized, "white")),
    )


def _count(found: Findings, look: Look) -> None:
    found.num_samples += 1
    found.shapes[look.shape] += 1
    found.shown.add(look)
    if look.label is not None:
        found.labels[look.label] += 1
    if look.caption:
        found.num_captions += 1
        found.captions.add((look.key, look.caption))


def _tell_alike(
    found: Findings, digests: NDArray[np.uint64], thumbs: RowFile, scratch: Path, epsilon: float
) -> None:
    if not len(digests):
        return
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    originals = first[which]
    same = np.flatnonzero(originals != np.arange(len(digests)))
    near = find_duplicates(_centred(thumbs, scratch / "centred"), epsilon, seed=0)
    other = originals[near.indices] != originals[near.twins]
    pairs = np.concatenate(
        [
            np.stack([same, originals[same]], axis=1),
            np.stack([near.indices[other], near.twins[other]], axis=1),
        ]
    )
    names = _names(scratch / "names", pairs)
    found.same = [Alike(names[a], names[b], 1.0) for a, b in pairs[: len(same)].tolist()]
    found.near = [
        Alike(names[a], names[b], round(float(similarity), 4))
        for (a, b), similarity in zip(
            pairs[len(same) :].tolist(), near.similarities[other], strict=True
        )
    ]


def _centred(rows: RowFile, path: Path) -> RowFile:
    """The same rows less their mean."""
    mean = sum(chunk.sum(0, dtype=np.float64) for chunk in rows.chunks()) / len(rows)
    centred = RowFile(path, rows.width)
    for chunk in rows.chunks():
        centred.append((chunk - mean).astype(np.float32))
    return centred


def _names(path: Path, wanted: NDArray[np.int64]) -> dict[int, str]:
    """The names of some samples, by their number."""
    numbers = set(wanted.ravel().tolist())
    with path.open(encoding="ascii") as lines:
        return {at: json.loads(line) for at, line in enumerate(lines) if at in numbers}
