"""From features on disk to centroids and the cluster of every sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.errors import BadInput
from atoll.sections import PartitionSection
from partition.balance import fit_offsets, sizes_under, target_sizes
from partition.centroids import assign, squared_distances
from partition.kmeans import coarse_centroids, fine_centroids
from partition.order import EndlessOrder
from partition.rowfile import RowFile

_DISTANCES = 1 << 23  # held in memory to fit the offsets: all samples, or evenly drawn ones
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Assignment:
    """Centroids, and where every sample went.

    Attributes:
        fine: (num_fine, F), float32.
        cluster_of_fine: (num_fine,), int64.
        coarse: (K, F), float32.
        offsets: (K,), float32.
        scatter: mean squared distance of a sample to its cluster's coarse centroid.
        clusters: (N,), int32; the cluster of each sample.
        sizes: (K,), int64; none is 0.
    """

    fine: NDArray[np.float32]
    cluster_of_fine: NDArray[np.int64]
    coarse: NDArray[np.float32]
    offsets: NDArray[np.float32]
    scatter: float
    clusters: NDArray[np.int32]
    sizes: NDArray[np.int64]


def assign_samples(rows: RowFile, section: PartitionSection, seed: int) -> Assignment:
    """Split samples into clusters.

    Args:
        rows: features, (N, F).
        section: how many clusters, and how even.
        seed: equal seeds and features give equal assignments.

    Raises:
        BadInput: there are fewer samples, or fewer that differ, than clusters.
    """
    num = section.num_experts
    if num > len(rows):
        raise BadInput(
            f"partition.num_experts = {num} is more than the {len(rows)} samples; lower it"
        )
    fine, counts = fine_centroids(rows, section.num_fine, seed)
    coarse, cluster_of_fine = coarse_centroids(fine, counts, num, seed)
    offsets = _balanced_offsets(rows, coarse, section, seed)
    clusters, scatter = _assigned(rows, coarse, offsets)
    sizes = np.bincount(clusters, minlength=num)
    if not sizes.all():
        raise BadInput(
            f"partition.num_experts = {num}, but the samples differ too little to fill more than "
            f"{np.count_nonzero(sizes)} clusters; lower it, or raise partition.balance"
        )
    return Assignment(fine, cluster_of_fine, coarse, offsets, scatter, clusters, sizes)


def _assigned(
    rows: RowFile, coarse: NDArray[np.float32], offsets: NDArray[np.float32]
) -> tuple[NDArray[np.int32], float]:
    """The cluster of each sample, and how far on average they lie from its centre, squared."""
    clusters, squares = [], 0.0
    for chunk in rows.chunks():
        found = assign(chunk, coarse, offsets)
        squares += float(np.square(chunk - coarse[found]).sum(dtype=np.float64))
        clusters.append(found.astype(np.int32))
    return np.concatenate(clusters), squares / len(rows)


def _balanced_offsets(
    rows: RowFile, coarse: NDArray[np.float32], section: PartitionSection, seed: int
) -> NDArray[np.float32]:
    num_drawn = min(len(rows), _DISTANCES // len(coarse))
    order = EndlessOrder(len(rows), seed)
    distances = np.empty((len(coarse), num_drawn), np.float32)
    for first in range(0, num_drawn, _BLOCK):
        last = min(first + _BLOCK, num_drawn)
        features = rows.take(order.span(first, last))
        distances[:, first:last] = squared_distances(features, coarse).T
    free = sizes_under(distances, np.zeros(len(coarse)))
    return fit_offsets(distances, target_sizes(free, section.balance, section.sizes))
