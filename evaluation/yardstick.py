"""One set of real images and one extractor, which every row of a comparison is measured with."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.extractor import Extractor
from evaluation.frechet import Features, Moments, frechet_distance, moments
from evaluation.kid import kernel_distance
from evaluation.neighbours import neighbours
from evaluation.real import RealImages
from evaluation.results import ClusterScore, Scores

_NEIGHBOURS = 10_000  # of each side, for the shares that take every pair of them


@dataclass(frozen=True)
class Yardstick:
    """See the module.

    Attributes:
        extractor: see :class:`evaluation.extractor.Extractor`.
        real: what generated images are held against.
    """

    extractor: Extractor
    real: RealImages

    def scores(self, images: NDArray[np.uint8]) -> Scores:
        """How close images (N, H, W, C) uint8 are to the real ones."""
        return _scores(self._features, self.extractor(images), self._moments)

    def floor(self) -> Scores:
        """One half of the real images against the other: what perfect images would score."""
        middle = len(self._features) // 2
        first, other = self._features[:middle], self._features[middle:]
        return _scores(first, other, moments(first))

    def clusters(
        self, images: NDArray[np.uint8], clusters: NDArray[np.int64]
    ) -> tuple[ClusterScore, ...]:
        """How close the images of each cluster are to the real images of the same.

        Args:
            images: (N, H, W, C), uint8.
            clusters: (N,), whose expert painted each.
        """
        features = self.extractor(images)
        return tuple(
            _cluster_score(k, self._features[self.real.clusters == k], features[clusters == k])
            for k in range(self.real.num_clusters)
        )

    @functools.cached_property
    def _features(self) -> Features:
        return self.extractor(self.real.images)

    @functools.cached_property
    def _moments(self) -> Moments:
        return moments(self._features)


def _scores(real: Features, generated: Features, real_moments: Moments) -> Scores:
    kid = kernel_distance(real, generated)
    near = neighbours(real[:_NEIGHBOURS], generated[:_NEIGHBOURS])
    return Scores(
        num_samples=len(generated),
        frechet=frechet_distance(real_moments, moments(generated)),
        kid=kid.mean,
        kid_std=kid.std,
        precision=near.precision,
        recall=near.recall,
        density=near.density,
        coverage=near.coverage,
    )


def _cluster_score(cluster: int, real: Features, generated: Features) -> ClusterScore:
    fewer = min(len(real), len(generated))
    singular = fewer <= real.shape[1]
    return ClusterScore(
        cluster=cluster,
        num_real=len(real),
        num_generated=len(generated),
        frechet=None if singular else frechet_distance(moments(real), moments(generated)),
        kid=None if fewer < 4 else kernel_distance(real, generated).mean,
    )
