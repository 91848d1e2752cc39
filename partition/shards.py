"""Writing the samples of each cluster as WebDataset tars.

Equal samples give equal bytes, so the digests of a partition can be compared. At most one file is
open at a time, however many clusters there are.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from atoll import layout
from atoll.blob_checks import digest_file
from atoll.blobs import BlobStore
from atoll.errors import BlobExists
from partition.images import encode_png
from partition.manifest import Shard, ShardSet
from partition.sources import Sample

END_OF_TAR = bytes(2 * tarfile.BLOCKSIZE)
_SIZE = slice(124, 136)  # of a file, in its header: octal digits


@dataclass
class _OpenShard:
    """The tar of one cluster and bucket that still takes samples."""

    cluster: int
    bucket: int
    path: Path
    num_samples: int = 0
    done: list[Shard] = field(default_factory=list)
    label_counts: Counter[int] = field(default_factory=Counter)


class ShardWriter:
    """Deals samples out to the tars of their clusters, and stores each tar when it is full.

    Args:
        store: where the tars go.
        scratch: folder for the tars that are not full yet.
        num_clusters: K.
        samples_per_shard: samples in a full tar.
        buckets: heights and widths of images, each of which has tars of its own; empty where all
            images are of one size.
    """

    def __init__(
        self,
        store: BlobStore,
        scratch: Path,
        num_clusters: int,
        samples_per_shard: int,
        buckets: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._store = store
        self._samples_per_shard = samples_per_shard
        self._buckets = buckets
        self._open = [
            [
                _OpenShard(cluster, bucket, scratch / f"cluster-{cluster}-{bucket}.tar")
                for bucket in range(max(1, len(buckets)))
            ]
            for cluster in range(num_clusters)
        ]

    def write(self, cluster: int, index: int, sample: Sample) -> None:
        """Append a sample to its cluster; arguments as of :func:`members`.

        Raises:
            StorageFull: the store has no space left.
        """
        self.append(cluster, sample.label, members(index, sample, encode_png(sample.image)))

    def append(self, cluster: int, label: int | None, data: bytes, bucket: int = 0) -> None:
        """Append a sample to its cluster.

        Args:
            cluster: from 0.
            label: of the sample.
            data: what :func:`members` made of it.
            bucket: from 0.

        Raises:
            StorageFull: the store has no space left.
        """
        shard = self._open[cluster][bucket]
        with shard.path.open("ab") as file:
            file.write(data)
        shard.num_samples += 1
        if label is not None:
            shard.label_counts[label] += 1
        if shard.num_samples == self._samples_per_shard:
            self._seal(shard)

    def close(self, num_classes: int) -> tuple[ShardSet, ...]:
        """Store the tars that are not full, and list all of them.

        Args:
            num_classes: length of each cluster's ``label_counts``.
        """
        for shard in itertools.chain(*self._open):
            if shard.num_samples:
                self._seal(shard)
        return tuple(
            _set_of(cluster, shards, num_classes) for cluster, shards in enumerate(self._open)
        )

    def _seal(self, shard: _OpenShard) -> None:
        with shard.path.open("ab") as file:
            file.write(END_OF_TAR)
        digest = digest_file(shard.path)
        bucket = self._buckets[shard.bucket] if self._buckets else None
        key = layout.shard(shard.cluster, len(shard.done), digest, bucket)
        # The key names the content: what an interrupted run left there is this very tar, and so
        # is what another one that goes on beside this puts there.
        with contextlib.suppress(BlobExists):
            self._store.put_file(key, shard.path)
        size = shard.path.stat().st_size
        shard.done.append(Shard(key, digest, shard.num_samples, size, shard.bucket))
        shard.path.unlink()
        shard.num_samples = 0


def _set_of(cluster: int, shards: Sequence[_OpenShard], num_classes: int) -> ShardSet:
    """The tars of a cluster, of which those of each bucket are given."""
    done = tuple(itertools.chain(*(shard.done for shard in shards)))
    counts = sum((shard.label_counts for shard in shards), Counter[int]())
    return ShardSet(
        cluster=cluster,
        num_samples=sum(tar.num_samples for tar in done),
        label_counts=tuple(counts[label] for label in range(num_classes)),
        shards=done,
    )


def members(index: int, sample: Sample, png: bytes) -> bytes:
    """A sample as it stands in a tar: its image, then what is known of it.

    Args:
        index: position of the sample in the data set; names it in the tar.
        sample: what to write.
        png: its image as a PNG file.
    """
    about = {"key": sample.key, "index": index, "label": sample.label, "caption": sample.caption}
    text = json.dumps(about, ensure_ascii=False).encode()
    return member(f"{index:09d}.png", png) + member(f"{index:09d}.json", text)


def places(path: Path) -> NDArray[np.int64]:
    """Where the files in a tar of :class:`ShardWriter` begin, and their sizes: (n, 2), bytes.

    Of a header it reads the size alone, ten times as fast as the standard library, which makes
    an object of each: a trainer does this for all its samples before its first step.

    Raises:
        ValueError: it is no such tar.
    """
    found: list[tuple[int, int]] = []
    at = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as tar:
        while digits := tar[at + _SIZE.start : at + _SIZE.stop].rstrip(b"\0"):
            size = int(digits, 8)
            found.append((at + tarfile.BLOCKSIZE, size))
            at += tarfile.BLOCKSIZE + size + -size % tarfile.BLOCKSIZE
    return np.array(found, np.int64).reshape(-1, 2)


def read_members(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What :func:`members` made, one after the other: the PNG, the JSON, and all of it."""
    while header := file.read(tarfile.BLOCKSIZE):
        image_size, image = _rest(file, header)
        about_header = file.read(tarfile.BLOCKSIZE)
        about_size, about = _rest(file, about_header)
        whole = header + image + about_header + about
        yield image[:image_size], about[:about_size], whole


def _rest(file: BinaryIO, header: bytes) -> tuple[int, bytes]:
    """Of the file after a header: its size, and its bytes with their padding."""
    size = int(header[_SIZE].rstrip(b"\0"), 8)
    return size, file.read(size + -size % tarfile.BLOCKSIZE)


def member(name: str, data: bytes) -> bytes:
    """One file of a tar: header, bytes, padding; without owner or time."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    padding = bytes(-len(data) % tarfile.BLOCKSIZE)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + padding
