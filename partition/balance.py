"""Sizes of clusters as wanted: one offset a centroid, from optimal transport.

A sample x belongs to the centroid k that makes ``|x - c_k|^2 - w_k`` smallest. For w = 0 that is
plain nearest-centroid assignment; for every choice of sizes there are offsets w that give them, and
among all assignments of those sizes the one they give has the least total squared distance.

Source: Aurenhammer, Hoffmann and Aronov, Minkowski-Type Theorems and Least-Squares Clustering
(Algorithmica 1998), theorem 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-3
_MAX_MOVES_PER_CLUSTER = 200


def target_sizes(free: NDArray[np.int64], balance: float) -> NDArray[np.int64]:
    """Whole sizes between those that come by themselves and even ones; none is empty.

    Args:
        free: sizes under nearest-centroid assignment, (K,).
        balance: 0 = free, 1 = even.

    Returns:
        (K,), int64, with the same sum, which is at least K.
    """
    total = int(free.sum())
    wanted = (1 - balance) * free + balance * total / len(free)
    sizes: NDArray[np.int64] = np.maximum(np.floor(wanted), 1).astype(np.int64)
    while sizes.sum() > total:  # small clusters were raised to 1, at the cost of the largest
        sizes[sizes.argmax()] -= 1
    most_wanting = np.argsort(sizes - wanted, kind="stable")
    sizes[most_wanting[: total - sizes.sum()]] += 1
    return sizes


def fit_offsets(distances: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Offsets under which each centroid gets its wanted number of samples.

    Ascends the dual of the transport problem one coordinate at a time: the cluster furthest below
    its size gets the offset that gives it exactly that size while the others stay as they are.

    Args:
        distances: squared, of each centroid to each sample, (K, N).
        targets: wanted sizes, (K,), positive, with sum N.

    Returns:
        (K,), float32; sizes are met to a thousandth, exactly where that is less than one sample, as
        far as samples at equal distances can be told apart.
    """
    num_clusters = len(targets)
    offsets = np.zeros(num_clusters, np.float32)
    slack = (targets * _TOLERANCE).astype(np.int64)
    for _ in range(_MAX_MOVES_PER_CLUSTER * num_clusters):
        reduced = distances - offsets[:, None]
        missing = targets - np.bincount(reduced.argmin(0), minlength=num_clusters)
        if (np.abs(missing) <= slack).all():
            break
        k = int((missing / targets).argmax())
        offsets[k] += _step(reduced, k, int(targets[k]))
    return offsets


def _step(reduced: NDArray[np.float32], k: int, size: int) -> np.float32:
    """How much to raise cluster k so that it is the nearest for ``size`` samples."""
    own = reduced[k].copy()
    reduced[k] = np.inf
    behind = own - reduced.min(0)
    last_in, first_out = np.partition(behind, [size - 1, size])[size - 1 : size + 1]
    return np.float32((last_in + first_out) / 2)
