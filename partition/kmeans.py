"""Two-stage k-means: many fine centroids of the samples, then a few coarse ones of those.

Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450), section 4.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from atoll.errors import BadInput
from partition.order import EndlessOrder
from partition.rowfile import RowFile

_STEPS = 100
_MIN_BATCH = 1024
_COUNTED_PER_CENTROID = 64


def fine_centroids(
    rows: RowFile, num: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Mini-batch k-means over rows drawn from the whole file.

    What is looked at, and so time and memory, depends on ``num`` and not on the number of rows.

    Args:
        rows: features, (N, F).
        num: centroids; no more than rows are made, and those nothing falls to are dropped.
        seed: of the draw and of the start.

    Returns:
        Centroids (at most num, F) float32, and how many of the rows looked at fall to each, (same,)
        int64.

    Source: Sculley, Web-Scale K-Means Clustering (WWW 2010), algorithm 1.
    """
    num = min(num, len(rows))
    batch = min(len(rows), max(_MIN_BATCH, 4 * num))
    order = EndlessOrder(len(rows), seed)
    model = MiniBatchKMeans(num, random_state=seed, n_init=1)
    for step in range(_STEPS):
        model.partial_fit(rows.take(order.span(step * batch, (step + 1) * batch)))
    counts = np.zeros(num, np.int64)
    num_counted = min(len(rows), _COUNTED_PER_CENTROID * num)
    for first in range(0, num_counted, batch):
        indices = order.span(first, min(first + batch, num_counted))
        counts += np.bincount(model.predict(rows.take(indices)), minlength=num)
    return model.cluster_centers_[counts > 0], counts[counts > 0]


def coarse_centroids(
    fine: NDArray[np.float32], counts: NDArray[np.int64], num: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """K-means over fine centroids, each as heavy as the samples that fall to it.

    Args:
        fine: (num_fine, F).
        counts: (num_fine,), positive.
        num: coarse centroids, K.
        seed: of the start.

    Returns:
        Centroids (K, F) float32, and which of them each fine one belongs to, (num_fine,) int64.

    Raises:
        BadInput: there are fewer distinct fine centroids than K.
    """
    num_distinct = len(np.unique(fine, axis=0))
    if num_distinct < num:
        raise BadInput(
            f"partition.num_experts = {num}, but the samples form only {num_distinct} groups that "
            "differ at all; lower it"
        )
    model = KMeans(num, n_init=10, random_state=seed)
    # The sum of several threads depends on which comes first; that of one does not.
    with threadpool_limits(1):
        model.fit(fine, sample_weight=counts)
    return model.cluster_centers_, model.labels_.astype(np.int64)
