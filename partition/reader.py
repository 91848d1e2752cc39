"""Reading shards in an order that is known beforehand, from any position."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atoll.blobs import BlobStore
from atoll.errors import BadInput, BlobDamaged, DataError
from atoll.fit import refuse_held_out
from atoll.node_cache import NodeCache
from partition.form import Form, read_array
from partition.held_out import split
from partition.manifest import Partition, Shard
from partition.order import EndlessOrder
from partition.shards import places

_MEMORY_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as they are stored.

    Attributes:
        images: (B, H, W, C), uint8; or what an autoencoder made of them, (B, C, h, w) or, of
            moments, (B, 2 C, h, w), float16, see :class:`partition.manifest.Latents`; both of what
            it made of the image and of its mirror image, (B, 2, ...), where there are two.
        labels: (B,), int64; -1 for samples without a label.
        clusters: (B,), int64; the cluster each sample belongs to.
        captions: B texts; None for data without captions.
        indices: (B,), int64; which sample of the reader each row is.
        texts: what a text encoder made of the captions, (B, dims) or (B, tokens, dims), float16;
            None where nothing did beforehand.
        features: what the samples were clustered by, (B, F) float32; None unless asked for.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    captions: tuple[str, ...] | None
    indices: NDArray[np.int64]
    texts: NDArray[np.float16] | None = None
    features: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class _ShardIndex:
    """Where the samples of one tar lie in its file."""

    shard: Shard
    path: Path
    images: NDArray[np.int64]  # (n, 2): offset and size of each PNG or latent, bytes
    abouts: NDArray[np.int64]  # (n, 2): the same of each JSON


@dataclass(frozen=True, slots=True)
class _TextIndex:
    """Where the encoded captions of one tar lie in its file."""

    shard: Shard
    path: Path
    texts: NDArray[np.int64]  # (n, 2)


class ShardReader:
    """Samples of some clusters, shuffled anew every epoch, each exactly once an epoch.

    The order is f(seed, epoch, index), so a position is one number, the samples consumed so far,
    and going on from it is exact whatever the number of ranks before and after. Decoded samples
    are kept as long as they fit into ``memory_bytes`` all together.

    Args:
        store: where the shards are.
        partition: which they are.
        clusters: whose samples to read; None for all.
        cache: for copies of shards from a store that is not on this machine. All shards of the
            clusters are needed at once, since the order leads through all of them; no others.
        seed: chooses the order.
        held_out: samples of each cluster that the order leaves out, see :mod:`partition.held_out`.
        pixels: whether to read the images themselves, even where networks see latents of them.
        features: whether batches bring what samples were clustered by.
        memory_bytes: most that decoded images may take.
        heard: told of bytes of shards as they come to hand, by any thread.

    Raises:
        BadInput: a cluster does not exist or is empty, or the cache may not hold its shards.
        ConfigError: so many held out leave nothing of a cluster.
        BlobMissing: a shard is gone.
        DataError: the store's own shard does not match its digest, so that another try would not.
        BlobDamaged: a shard makes no sense on this machine; the next try verifies it anew.
        StorageFull: the cache has no room.
    """

    def __init__(
        self,
        store: BlobStore,
        partition: Partition,
        clusters: Sequence[int] | None,
        cache: NodeCache,
        seed: int,
        *,
        held_out: int = 0,
        pixels: bool = False,
        features: bool = False,
        memory_bytes: int = _MEMORY_BYTES,
        heard: Callable[[int], None] = lambda _: None,
    ) -> None:
        chosen = range(partition.num_experts) if clusters is None else clusters
        _refuse_unknown(chosen, partition)
        sizes = [partition.shard_sets[cluster].num_samples for cluster in chosen]
        refuse_held_out(held_out, dict(zip(chosen, sizes, strict=True)))
        self._form = Form.of(partition, pixels=pixels)
        owned = [(shard, owner) for owner in chosen for shard in self._form.shards(owner)]
        shards, owners = zip(*owned, strict=True)
        texts = [shard for owner in chosen for shard in self._form.texts(owner)]
        others = [
            shard for owner in chosen if features for shard in partition.features.shards[owner]
        ]
        wanted = [shard.blob for shard in (*shards, *texts, *others)]
        self._files = cache.hold(store, wanted, heard)
        self._shards = [self._indexed(shard) for shard in shards]
        self._texts = [self._indexed_text(shard) for shard in texts]
        self._features = [self._mapped(shard) for shard in others]
        self._starts = np.cumsum([0, *(shard.num_samples for shard in shards)])
        self._clusters = np.asarray(owners, np.int64)
        self.num_samples = int(self._starts[-1])
        self._split = split(sizes, held_out)
        self._order = EndlessOrder(self._split.num_learnt, seed)
        size_bytes = self.num_samples * self._form.row_bytes
        self._kept = _Kept(self.num_samples, self._form) if size_bytes <= memory_bytes else None

    def batch(self, cursor: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """This rank's slice of a batch of the endless order.

        Args:
            cursor: samples consumed before this batch, by all ranks together.
            size: samples of the whole batch.
            rank: whose slice; slices of all ranks, one after another, are the whole batch.
            world: number of ranks.

        Returns:
            ``size / world`` samples, one more or less where that is not whole.
        """
        first, last = size * rank // world, size * (rank + 1) // world
        return self._read(self._split.learnt(self._order.span(cursor + first, cursor + last)))

    def held_out(self) -> Batch:
        """The samples that no batch holds, those of a cluster together; the same for every seed."""
        return self._read(self._split.held_out)

    def _read(self, indices: NDArray[np.int64]) -> Batch:
        if self._kept is None:
            holder, rows = _Kept(len(indices), self._form), np.arange(len(indices))
            self._decode_into(holder, rows, indices)
        else:
            holder, rows = self._kept, indices
            missing = np.unique(indices[~holder.filled[indices]])
            self._decode_into(holder, missing, missing)
        captions = tuple(holder.captions[row] for row in rows)
        return Batch(
            images=holder.images[rows],
            labels=holder.labels[rows],
            clusters=self._clusters[self._shard_of(indices)],
            captions=captions if self._form.has_captions else None,
            indices=indices,
            texts=None if holder.texts is None else holder.texts[rows],
            features=self._features_of(indices) if self._features else None,
        )

    def _features_of(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        numbers = self._shard_of(indices)
        withins = indices - self._starts[numbers]
        parts = [self._features[n][within] for n, within in zip(numbers, withins, strict=True)]
        return np.stack(parts).astype(np.float32)

    def _shard_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._starts, indices, side="right") - 1

    def _decode_into(
        self, holder: _Kept, rows: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> None:
        shards = self._shard_of(indices)
        for number in np.unique(shards):
            shard = self._shards[number]
            with self._sense_made_of(shard.shard), shard.path.open("rb") as file:
                for place in np.flatnonzero(shards == number):
                    row, within = rows[place], indices[place] - self._starts[number]
                    file.seek(shard.images[within, 0])
                    holder.images[row] = self._form.decode(file.read(shard.images[within, 1]))
                    file.seek(shard.abouts[within, 0])
                    about = json.loads(file.read(shard.abouts[within, 1]))
                    holder.labels[row] = -1 if about["label"] is None else about["label"]
                    holder.captions[row] = about["caption"] or ""
                    holder.filled[row] = True
            if holder.texts is not None:
                self._decode_texts(holder.texts, rows, indices, number)

    def _decode_texts(
        self,
        room: NDArray[np.float16],
        rows: NDArray[np.int64],
        indices: NDArray[np.int64],
        number: int,
    ) -> None:
        """Those of one tar; a caption of fewer tokens than there is room for ends in zeros."""
        text = self._texts[number]
        with self._sense_made_of(text.shard), text.path.open("rb") as file:
            for place in np.flatnonzero(self._shard_of(indices) == number):
                at, size = text.texts[indices[place] - self._starts[number]]
                file.seek(at)
                vectors = read_array(file.read(size))
                if room.ndim == 2:
                    room[rows[place]] = vectors
                else:
                    room[rows[place], : len(vectors)] = vectors

    def _indexed(self, shard: Shard) -> _ShardIndex:
        path = self._path_of(shard)
        with self._sense_made_of(shard):
            found = _places(path, shard, files=2)
        return _ShardIndex(shard, path, images=found[0::2], abouts=found[1::2])

    def _indexed_text(self, shard: Shard) -> _TextIndex:
        path = self._path_of(shard)
        with self._sense_made_of(shard):
            return _TextIndex(shard, path, _places(path, shard, files=1))

    def _path_of(self, shard: Shard) -> Path:
        try:
            return self._files.path(shard.blob)
        except BlobDamaged as error:  # a copy of it was fetched again
            raise DataError(str(error)) from error

    def _mapped(self, shard: Shard) -> NDArray[np.float16]:
        path = self._path_of(shard)
        with self._sense_made_of(shard):
            array: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

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


class _Kept:
    """Room for decoded samples."""

    def __init__(self, num: int, form: Form) -> None:
        self.images = np.zeros((num, *form.shape), form.dtype)
        self.texts = (
            None if form.text_shape is None else np.zeros((num, *form.text_shape), np.float16)
        )
        self.labels = np.full(num, -1, np.int64)
        self.captions = [""] * num
        self.filled = np.zeros(num, np.bool_)


def _places(path: Path, shard: Shard, files: int) -> NDArray[np.int64]:
    """Where the files of a tar lie, so many for each sample."""
    found = places(path)
    if len(found) != files * shard.num_samples:
        raise BlobDamaged(
            f"{shard.key} holds {len(found)} files, not the {files * shard.num_samples} of its "
            "manifest; run `atoll partition` under a run.uri of its own"
        )
    return found


def _refuse_unknown(clusters: Sequence[int], partition: Partition) -> None:
    for cluster in clusters:
        if not 0 <= cluster < partition.num_experts:
            raise BadInput(
                f"cluster {cluster} does not exist; the partition has clusters 0 to "
                f"{partition.num_experts - 1}"
            )
        if not partition.shard_sets[cluster].num_samples:
            raise BadInput(f"cluster {cluster} is empty; an expert needs samples to learn from")
    if not clusters:
        raise BadInput("no cluster was chosen to read from")
