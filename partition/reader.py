"""Reading shards in an order that is known beforehand, from any position."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from atoll.blobs import BlobStore
from atoll.errors import BadInput
from atoll.fit import refuse_held_out
from atoll.image_size import name_of
from atoll.node_cache import NodeCache
from partition.batch import Batch
from partition.bucketed import BucketedOrder
from partition.form import Form
from partition.held_out import Learnt, chosen
from partition.manifest import Partition
from partition.stored import Room, StoredSamples

_MEMORY_BYTES = 512 << 20
_log = logging.getLogger(__name__)


class ShardReader:
    """Samples of some clusters, shuffled anew every epoch, each exactly once an epoch.

    The order is f(seed, epoch, index), so a position is one number, the samples consumed so far,
    and going on from it is exact whatever the number of ranks before and after. Where images are
    of several buckets, each batch is of one, see :mod:`partition.bucketed`. Decoded samples are
    kept as long as they fit into ``memory_bytes`` all together.

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
        owners = range(partition.num_experts) if clusters is None else clusters
        _refuse_unknown(owners, partition)
        sizes = [partition.shard_sets[cluster].num_samples for cluster in owners]
        refuse_held_out(held_out, dict(zip(owners, sizes, strict=True)))
        form = Form.of(partition, pixels=pixels)
        self._stored = StoredSamples(
            store, partition, owners, cache, form, features=features, heard=heard
        )
        self.num_samples = self._stored.num
        held = self._stored.numbers(chosen(sizes, held_out))
        bounds = list(pairwise(self._stored.bounds))
        self._held = [held[(first <= held) & (held < end)] for first, end in bounds]
        _tell_of_nothing_left(partition, self._stored, self._held)
        self._learnt = [
            Learnt(end - first, own - first)
            for (first, end), own in zip(bounds, self._held, strict=True)
        ]
        self._order = BucketedOrder([each.num for each in self._learnt], seed)
        rooms = [(bucket, end - first) for bucket, (first, end) in enumerate(bounds)]
        size_bytes = sum(num * form.row_bytes(bucket) for bucket, num in rooms)
        self._kept: list[Room] | None = None
        if size_bytes <= memory_bytes:
            self._kept = [Room(num, form, bucket) for bucket, num in rooms]

    def batch(self, cursor: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """This rank's slice of a batch of the endless order.

        Args:
            cursor: samples consumed before this batch, by all ranks together; of several buckets a
                multiple of ``size``.
            size: samples of the whole batch.
            rank: whose slice; slices of all ranks, one after another, are the whole batch.
            world: number of ranks.

        Returns:
            ``size / world`` samples, one more or less where that is not whole.
        """
        first, last = size * rank // world, size * (rank + 1) // world
        bucket, rows = self._order.rows(cursor, size, first, last)
        return self._read(bucket, self._stored.bounds[bucket] + self._learnt[bucket].at(rows))

    def held_out(self) -> tuple[Batch, ...]:
        """The samples that no batch holds, those of a cluster together; the same for every seed.

        Returns:
            One batch for each bucket that has any.
        """
        held = enumerate(self._held)
        return tuple(self._read(bucket, indices) for bucket, indices in held if len(indices))

    def _read(self, bucket: int, indices: NDArray[np.int64]) -> Batch:
        stored = self._stored
        if self._kept is None:
            room, rows = Room(len(indices), stored.form, bucket), np.arange(len(indices))
            stored.decode_into(room, rows, indices)
        else:
            room, rows = self._kept[bucket], indices - stored.bounds[bucket]
            missing = np.unique(rows[~room.filled[rows]])
            stored.decode_into(room, missing, stored.bounds[bucket] + missing)
        captions = tuple(room.captions[row] for row in rows)
        return Batch(
            images=room.images[rows],
            labels=room.labels[rows],
            clusters=stored.clusters(indices),
            captions=captions if stored.form.has_captions else None,
            indices=indices,
            texts=None if room.texts is None else room.texts[rows],
            features=stored.features(indices),
        )


def _tell_of_nothing_left(
    partition: Partition, stored: StoredSamples, held: Sequence[NDArray[np.int64]]
) -> None:
    """Warn of each bucket whose samples of a cluster are all held out: it is not learnt there."""
    for bucket, indices in enumerate(held):
        clusters, nums = np.unique(stored.clusters(indices), return_counts=True)
        for cluster, num in zip(clusters.tolist(), nums.tolist(), strict=True):
            shards = partition.shard_sets[cluster].shards
            if num == sum(shard.num_samples for shard in shards if shard.bucket == bucket):
                size = name_of(*partition.buckets[bucket])
                fields = {"cluster": cluster, "bucket": size, "samples": num}
                _log.warning("training.held_out leaves nothing", extra={"fields": fields})


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
