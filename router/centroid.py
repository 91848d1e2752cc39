"""Routing without training: how far is a noised image from each cluster's centroid?

The features are linear in the pixels, so noise on the pixels is known noise on the features, and
x_t itself can be compared with the centroids: an estimate of x0 would need the velocity of the very
ensemble that is to be routed. Each cluster counts as an isotropic Gaussian about its centroid.

Source: Gururangan et al., Scaling Expert Language Models with Unsupervised Domain Discovery
(arXiv 2303.14177), whose fixed temperature here grows with the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.errors import ConfigError
from partition.centroids import CentroidModel
from partition.pca import PcaFeatures
from router.gate import Gate

_LEAST_VARIANCE = 1e-4  # in features of pixels in [-1, 1]; keeps t = 0 finite


@dataclass(frozen=True, slots=True, eq=False)
class CentroidGate:
    """Softmax over distances of features; see the module.

    At time t a feature of cluster k is about N((1 - t) c_k, (1 - t)^2 variance + t^2).

    Attributes:
        mean: (D,), of the pixels, D = C H W.
        components: (F, D), orthonormal rows.
        centroids: (K, F).
        offsets: (K,), by which the partition favours a cluster over its squared distance.
        variance: of a feature within a cluster.
        prior: p(k | c), which is all that is left at t = 1.
    """

    mean: Tensor
    components: Tensor
    centroids: Tensor
    offsets: Tensor
    variance: float
    prior: Gate

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """See :class:`router.gate.Gate`."""
        signal = (1 - t).unsqueeze(1)  # (B, 1)
        features = (x_t.flatten(1) - signal * self.mean) @ self.components.T  # (B, F)
        away = features.unsqueeze(1) - signal.unsqueeze(2) * self.centroids  # (B, K, F)
        distance = away.square().sum(2) - signal.square() * self.offsets  # (B, K)
        temperature = 2 * (signal.square() * self.variance + t.unsqueeze(1).square())
        return (self.prior(x_t, t, cond).log() - distance / temperature).softmax(1)


def centroid_gate(model: CentroidModel, prior: Gate, device: torch.device) -> CentroidGate:
    """The gate that follows from a partition alone.

    Every feature counts as equally spread: its variance within a cluster is the mean squared
    distance of the samples to their cluster's centroid, divided among the features.

    Raises:
        ConfigError: the features are not linear in the pixels.
    """
    if not isinstance(model.features, PcaFeatures):
        raise ConfigError(
            'sampling.gate = "centroid" needs partition.features = "pca"; use the learned gate'
        )
    variance = model.scatter / model.coarse.shape[1]
    mean, components, centroids, offsets = (
        torch.from_numpy(array).to(device)
        for array in (model.features.mean, model.features.components, model.coarse, model.offsets)
    )
    return CentroidGate(mean, components, centroids, offsets, max(variance, _LEAST_VARIANCE), prior)
