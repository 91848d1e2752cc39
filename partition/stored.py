"""The files of some clusters' samples on this machine, and any sample out of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atoll.blobs import BlobStore
from atoll.errors import BlobDamaged, DataError
from atoll.node_cache import NodeCache
from partition.form import Form, read_array
from partition.manifest import Partition, Shard
from partition.shards import places


class Room:
    """Room for decoded samples of a bucket, by number from 0.

    Args:
        num: of samples.
        form: in which they are stored.
        bucket: see above.

    Attributes:
        images: as :class:`partition.batch.Batch` has them; so are the others.
        texts: likewise.
        labels: likewise.
        captions: likewise, "" for none.
        filled: (num,) bool, which of them are there.
    """

    def __init__(self, num: int, form: Form, bucket: int) -> None:
        self.images: NDArray[Any] = np.zeros((num, *form.shapes[bucket]), form.dtype)
        self.texts: NDArray[np.float16] | None = None
        if form.text_shape is not None:
            self.texts = np.zeros((num, *form.text_shape), np.float16)
        self.labels = np.full(num, -1, np.int64)
        self.captions = [""] * num
        self.filled = np.zeros(num, np.bool_)


@dataclass(frozen=True, slots=True)
class _Tar:
    """Where the files of one tar lie in it: (n, 2) offset and size, bytes."""

    shard: Shard
    path: Path
    found: NDArray[np.int64]


class StoredSamples:
    """Samples of clusters, numbered bucket by bucket, cluster by cluster and tar by tar from 0.

    Args:
        store: where the shards are.
        partition: which they are.
        clusters: whose samples.
        cache: for copies of shards from a store that is not on this machine.
        form: in which the samples are read.
        features: whether what they were clustered by is read, too.
        heard: told of bytes of shards as they come to hand, by any thread.

    Attributes:
        form: see above.
        num: how many samples.
        bounds: numbers at which the buckets begin, and at which the last one ends.

    Raises:
        BadInput: the cache may not hold the shards.
        BlobMissing: a shard is gone.
        DataError: the store's own shard does not match its digest, so that another try would not.
        BlobDamaged: a shard makes no sense on this machine; the next try verifies it anew.
        StorageFull: the cache has no room.
    """

    def __init__(
        self,
        store: BlobStore,
        partition: Partition,
        clusters: Sequence[int],
        cache: NodeCache,
        form: Form,
        *,
        features: bool,
        heard: Callable[[int], None],
    ) -> None:
        self.form = form
        owned = [(shard, owner) for owner in clusters for shard in form.shards(owner)]
        shards, owners = zip(*sorted(owned, key=lambda each: each[0].bucket), strict=True)
        texts = _by_bucket(shard for owner in clusters for shard in form.texts(owner))
        kept = _by_bucket(
            each for owner in clusters if features for each in partition.features.shards[owner]
        )
        self._files = cache.hold(store, [each.blob for each in (*shards, *texts, *kept)], heard)
        self._tars = [self._opened(shard, num_files=2) for shard in shards]
        self._texts = [self._opened(shard, num_files=1) for shard in texts]
        self._features = [self._mapped(shard) for shard in kept]
        self._starts = np.cumsum([0, *(shard.num_samples for shard in shards)])
        self._clusters = np.asarray(owners, np.int64)
        self._by_cluster = np.argsort([clusters.index(owner) for owner in owners], kind="stable")
        self.num = int(self._starts[-1])
        firsts = np.searchsorted([shard.bucket for shard in shards], range(len(form.shapes) + 1))
        self.bounds: tuple[int, ...] = tuple(self._starts[firsts].tolist())

    def clusters(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cluster of each of some samples."""
        return self._clusters[self._tar_of(indices)]

    def numbers(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples at some places of all clusters, one after another, each bucket by bucket."""
        starts = np.cumsum([0, *np.diff(self._starts)[self._by_cluster]])
        at = np.searchsorted(starts, places, side="right") - 1
        numbers: NDArray[np.int64] = self._starts[self._by_cluster[at]] + places - starts[at]
        return numbers

    def features(self, indices: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """What some samples were clustered by, (n, F); None unless that is read."""
        if not self._features:
            return None
        numbers = self._tar_of(indices)
        withins = indices - self._starts[numbers]
        rows = [self._features[each][at] for each, at in zip(numbers, withins, strict=True)]
        return np.stack(rows).astype(np.float32)

    def decode_into(self, room: Room, rows: NDArray[np.int64], indices: NDArray[np.int64]) -> None:
        """Decode samples ``indices`` to where ``rows`` says."""
        numbers = self._tar_of(indices)
        for number in np.unique(numbers):
            chosen = np.flatnonzero(numbers == number)
            withins = indices[chosen] - self._starts[number]
            self._decode(self._tars[number], room, rows[chosen], withins)
            if room.texts is not None:
                self._decode_texts(self._texts[number], room.texts, rows[chosen], withins)

    def _decode(
        self, tar: _Tar, room: Room, rows: NDArray[np.int64], withins: NDArray[np.int64]
    ) -> None:
        with self._sense_made_of(tar.shard), tar.path.open("rb") as file:
            for row, within in zip(rows, withins, strict=True):
                (image_at, image_size), (about_at, about_size) = tar.found[2 * within :][:2]
                file.seek(image_at)
                room.images[row] = self.form.decode(file.read(image_size))
                file.seek(about_at)
                about = json.loads(file.read(about_size))
                room.labels[row] = -1 if about["label"] is None else about["label"]
                room.captions[row] = about["caption"] or ""
                room.filled[row] = True

    def _decode_texts(
        self,
        tar: _Tar,
        texts: NDArray[np.float16],
        rows: NDArray[np.int64],
        withins: NDArray[np.int64],
    ) -> None:
        """A caption of fewer tokens than there is room for ends in zeros."""
        with self._sense_made_of(tar.shard), tar.path.open("rb") as file:
            for row, within in zip(rows, withins, strict=True):
                at, size = tar.found[within]
                file.seek(at)
                vectors = read_array(file.read(size))
                if texts.ndim == 2:
                    texts[row] = vectors
                else:
                    texts[row, : len(vectors)] = vectors

    def _tar_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._starts, indices, side="right") - 1

    def _opened(self, shard: Shard, num_files: int) -> _Tar:
        path = self._path_of(shard)
        with self._sense_made_of(shard):
            found = places(path)
        if len(found) != num_files * shard.num_samples:
            raise BlobDamaged(
                f"{shard.key} holds {len(found)} files, not the {num_files * shard.num_samples} of "
                "its manifest; run `atoll partition` under a run.uri of its own"
            )
        return _Tar(shard, path, found)

    def _mapped(self, shard: Shard) -> NDArray[np.float16]:
        path = self._path_of(shard)
        with self._sense_made_of(shard):
            array: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def _path_of(self, shard: Shard) -> Path:
        try:
            return self._files.path(shard.blob)
        except BlobDamaged as error:  # a copy of it was fetched again
            raise DataError(str(error)) from error

    @contextlib.contextmanager
    def _sense_made_of(self, shard: Shard) -> Iterator[None]:
        """A shard was verified once, so what cannot be read of it now is damage since then."""
        try:
            yield
        except (OSError, ValueError, KeyError, SyntaxError) as error:
            self._files.doubt(shard.blob)
            raise BlobDamaged(
                f"{shard.key} makes no sense on this machine ({error}); the next try verifies it, "
                "and fetches it again if it is a copy"
            ) from error


def _by_bucket(shards: Iterable[Shard]) -> list[Shard]:
    return sorted(shards, key=lambda shard: shard.bucket)
