"""Kernel distance between two sets of features: unbiased, so that small sets may be compared.

Source: Bińkowski et al., Demystifying MMD GANs (arXiv 1801.01401), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.frechet import Features


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """Mean over random subsets, and the standard deviation among them."""

    mean: float
    std: float


def kernel_distance(
    real: Features,
    generated: Features,
    *,
    seed: int = 0,
    num_subsets: int = 20,
    subset_size: int = 1000,
) -> KernelDistance:
    """KID: squared maximum mean discrepancy under the kernel ``(x·y / F + 1)³``.

    Args:
        real: features (N, F).
        generated: features (M, F).
        seed: of the subsets.
        num_subsets: how many to average.
        subset_size: samples of each side in one; at most half of the smaller set is used.
    """
    size = min(subset_size, max(2, min(len(real), len(generated)) // 2))
    rng = np.random.default_rng(seed)
    values = [
        squared_mmd(_subset(real, size, rng), _subset(generated, size, rng))
        for _ in range(num_subsets)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def squared_mmd(real: Features, generated: Features) -> float:
    """Unbiased estimate for features (N, F) and (M, F); below zero as often as chance has it."""
    n, m = len(real), len(generated)
    within_real, within_generated = _kernel(real, real), _kernel(generated, generated)
    return float(
        (within_real.sum() - np.trace(within_real)) / (n * (n - 1))
        + (within_generated.sum() - np.trace(within_generated)) / (m * (m - 1))
        - 2 * _kernel(real, generated).mean()
    )


def _kernel(x: Features, y: Features) -> NDArray[np.float64]:
    base: NDArray[np.float64] = x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1
    return base * base * base  # numpy's power takes ten times as long


def _subset(features: Features, size: int, rng: np.random.Generator) -> Features:
    return features[rng.choice(len(features), size, replace=False)]
