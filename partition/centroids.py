"""The fitted partition as a function of images."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll import layout
from atoll.blobs import Blob, BlobStore
from atoll.errors import BlobExists
from partition.features import Features, restore_features
from partition.manifest import Partition

_ARRAYS = ("fine", "cluster_of_fine", "coarse", "offsets", "scatter")


@dataclass(frozen=True, slots=True)
class CentroidModel:
    """A fitted partition as a function of images.

    Attributes:
        features: the map from images to the vectors that centroids are compared with.
        fine: (num_fine, F), float32.
        cluster_of_fine: (num_fine,), int64.
        coarse: (K, F), float32.
        offsets: (K,), float32; see :mod:`partition.balance`.
        scatter: mean squared distance of a sample to its cluster's coarse centroid.
    """

    features: Features
    fine: NDArray[np.float32]
    cluster_of_fine: NDArray[np.int64]
    coarse: NDArray[np.float32]
    offsets: NDArray[np.float32]
    scatter: float


def save_centroids(store: BlobStore, model: CentroidModel) -> Blob:
    """Store a fitted partition under a key that names its content.

    Raises:
        StorageFull: the store has no space left.
    """
    buffer = io.BytesIO()
    arrays = {name: getattr(model, name) for name in _ARRAYS} | model.features.arrays()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    key = layout.centroids(digest)
    with contextlib.suppress(BlobExists):  # the key names the content
        store.put_bytes(key, data)
    return Blob(key, digest, len(data))


def load_centroids(store: BlobStore, partition: Partition) -> CentroidModel:
    """The centroids of a partition.

    Raises:
        BlobMissing: the file is gone.
        BlobDamaged: it does not match its digest.
        BadInput: the model behind the features cannot be loaded.
    """
    data = store.get_bytes(partition.centroids, partition.centroids_digest)
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = dict(file)
    own = {name: arrays.pop(name) for name in _ARRAYS}
    own["scatter"] = float(own["scatter"])
    return CentroidModel(features=restore_features(arrays), **own)


def squared_distances(
    features: NDArray[np.float32], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared Euclidean distances.

    Args:
        features: (B, F), float32.
        centroids: (K, F), float32.

    Returns:
        (B, K), float32.
    """
    squares = np.square(features).sum(1, keepdims=True) + np.square(centroids).sum(1)
    distances: NDArray[np.float32] = squares - 2 * features @ centroids.T
    return distances.clip(0)


def assign(
    features: NDArray[np.float32], coarse: NDArray[np.float32], offsets: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The cluster of each row of features: the k with the least ``|x - c_k|^2 - offset_k``.

    Args:
        features: (B, F), float32.
        coarse: (K, F), float32.
        offsets: (K,), float32.

    Returns:
        (B,), int64.
    """
    nearest: NDArray[np.int64] = (squared_distances(features, coarse) - offsets).argmin(1)
    return nearest
