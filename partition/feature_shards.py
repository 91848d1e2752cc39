"""The features that samples were clustered by, kept for those that learn from them."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from atoll import layout
from atoll.blobs import BlobStore
from atoll.errors import BlobExists
from partition.manifest import KeptFeatures, Shard, ShardSet
from partition.rowfile import RowFile


def keep_features(
    store: BlobStore,
    rows: RowFile,
    clusters: NDArray[np.int32],
    buckets: NDArray[np.int32],
    shard_sets: tuple[ShardSet, ...],
) -> KeptFeatures:
    """Store the features of each tar's samples beside it, in their order.

    Args:
        store: the run's.
        rows: features of all samples, (N, F).
        clusters: the cluster of each sample, (N,); those of none are in no tar.
        buckets: the bucket of each sample, (N,).
        shard_sets: the tars, in which the samples of a cluster follow each other bucket by bucket,
            and those of a bucket as in ``rows``.

    Returns:
        One ``.npy``, (n, F) float16, for each tar of each cluster.

    Raises:
        StorageFull: the store has no space left.
    """
    shards = tuple(tuple(_kept(store, rows, clusters, buckets, each)) for each in shard_sets)
    return KeptFeatures(rows.width, shards)


def _kept(
    store: BlobStore,
    rows: RowFile,
    clusters: NDArray[np.int32],
    buckets: NDArray[np.int32],
    shard_set: ShardSet,
) -> Iterator[Shard]:
    members = np.flatnonzero(clusters == shard_set.cluster)
    members = members[np.argsort(buckets[members], kind="stable")]
    ends = np.cumsum([shard.num_samples for shard in shard_set.shards])
    for shard, own in zip(shard_set.shards, np.split(members, ends[:-1]), strict=True):
        buffer = io.BytesIO()
        np.save(buffer, rows.take(own).astype(np.float16), allow_pickle=False)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        key = layout.features(shard.digest, digest)
        with contextlib.suppress(BlobExists):  # the key names the content
            store.put_bytes(key, data)
        yield Shard(key, digest, shard.num_samples, len(data), shard.bucket)
