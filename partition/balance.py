"""Sizes of clusters as wanted: one offset a centroid, from optimal transport.

A sample x belongs to the centroid k that makes ``|x - c_k|^2 - w_k`` smallest. For w = 0 that is
plain nearest-centroid assignment; for every choice of sizes there are offsets w that give them, and
among all assignments of those sizes the one they give has the least total squared distance.

Source: Aurenhammer, Hoffmann and Aronov, Minkowski-Type Theorems and Least-Squares Clustering
(Algorithmica 1998), theorem 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_TEMPERATURES = (1e-1, 1e-2, 1e-3, 1e-4)
_MAX_STEPS = 100
_PRECISION = 1e-7


def target_sizes(
    free: NDArray[np.int64], balance: float, proportions: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Whole sizes between those that come by themselves and those that are wished; none is empty.

    Args:
        free: sizes under nearest-centroid assignment, (K,).
        balance: 0 = free, 1 = as wished.
        proportions: of the sizes wished, positive, (K,); None for even ones. The largest goes to
            the cluster that is largest by itself, so that the least is moved.

    Returns:
        (K,), int64, with the same sum, which is at least K.
    """
    total = int(free.sum())
    wished = np.ones(len(free))
    if proportions is not None:
        wished[np.argsort(-free, kind="stable")] = sorted(proportions, reverse=True)
    wanted = (1 - balance) * free + balance * total * wished / wished.sum()
    sizes: NDArray[np.int64] = np.maximum(np.floor(wanted), 1).astype(np.int64)
    while sizes.sum() > total:  # small clusters were raised to 1, at the cost of the largest
        sizes[sizes.argmax()] -= 1
    most_wanting = np.argsort(sizes - wanted, kind="stable")
    sizes[most_wanting[: total - sizes.sum()]] += 1
    return sizes


def fit_offsets(distances: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Offsets under which each centroid gets its wanted number of samples.

    Maximises the dual of the transport problem, smoothed by a temperature that falls to a small
    part of what distances differ by.

    Args:
        distances: squared, of each centroid to each sample, (K, N).
        targets: wanted sizes, (K,), positive, with sum N.

    Returns:
        (K,), float32; sizes are met to a sample or two, or to about a thousandth, as far as samples
        at equal distances can be told apart. All zeros where sizes are as wanted by themselves.

    Source: Peyré and Cuturi, Computational Optimal Transport (arXiv 1803.00567), chapter 5.
    """
    offsets = np.zeros(len(targets))
    if not np.array_equal(sizes_under(distances, offsets), targets):
        spread = float((distances.max(0) - distances.min(0)).mean())
        for part in _TEMPERATURES:
            offsets = minimize(
                _negative_dual,
                offsets,
                (distances, targets / targets.sum(), part * spread),
                method="L-BFGS-B",
                jac=True,
                options={"maxiter": _MAX_STEPS, "gtol": _PRECISION, "ftol": 0},
            ).x
    return offsets.astype(np.float32)


def sizes_under(distances: NDArray[np.float32], offsets: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many samples belong to each centroid, (K,) int64; arguments as in :func:`fit_offsets`."""
    nearest = (distances - offsets.astype(np.float32)[:, None]).argmin(0)
    return np.bincount(nearest, minlength=len(distances))


def _negative_dual(
    offsets: NDArray[np.float64],
    distances: NDArray[np.float32],
    shares: NDArray[np.float64],
    temperature: float,
) -> tuple[float, NDArray[np.float64]]:
    """What offsets minimise, an average over samples, and its gradient (K,): actual less wanted."""
    logits = (offsets.astype(np.float32)[:, None] - distances) / np.float32(temperature)
    highest = logits.max(0)
    weights = np.exp(logits - highest)
    sums = weights.sum(0)
    value = temperature * float((highest + np.log(sums)).mean(dtype=np.float64))
    actual = (weights / sums).mean(1, dtype=np.float64)
    return value - float(offsets @ shares), actual - shares
