"""Fréchet distance between two sets of features, each taken for a Gaussian.

Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (arXiv 1706.08500), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.errors import BadInput

Features = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and covariance of a set of features.

    Attributes:
        mean: (F,), float64.
        covariance: (F, F), float64, unbiased.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def moments(features: Features) -> Moments:
    """Mean and covariance of features (N, F).

    Raises:
        BadInput: fewer than two samples have no covariance.
    """
    if len(features) < 2:
        raise BadInput(f"a covariance needs at least 2 samples, got {len(features)}")
    exact = features.astype(np.float64)
    return Moments(exact.mean(0), np.atleast_2d(np.cov(exact, rowvar=False)))


def frechet_distance(first: Moments, other: Moments) -> float:
    """Squared 2-Wasserstein distance of two Gaussians.

    ``|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)``. With ``C = L Lᵀ`` the trace of the root is the sum
    of the singular values of ``L1ᵀ L2``: no root of a product that is not symmetric, nothing
    complex, and covariances of few samples, which are singular, need no jitter.

    Source: Dowson & Landau, The Fréchet distance between multivariate normal distributions (1982).
    """
    cross = np.linalg.svd(_factor(first.covariance).T @ _factor(other.covariance), compute_uv=False)
    spread = np.trace(first.covariance) + np.trace(other.covariance) - 2 * cross.sum()
    apart = np.square(first.mean - other.mean).sum()
    return max(0.0, float(apart + spread))


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """L with ``L Lᵀ`` equal to a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = vectors * np.sqrt(values.clip(min=0))
    return root
