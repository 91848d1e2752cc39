"""Principal components of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atoll.errors import DataError
from partition.intake import Images
from partition.pixels import to_unit

if TYPE_CHECKING:
    from sklearn.decomposition import IncrementalPCA

_BATCH_BYTES = 16 << 20
_MOST = 65_536  # samples: to look at more takes most of a partition's time, and tells nothing new
_MOST_PIXELS = 4096  # of an image, of whose pairs 128 MB of numbers are kept


@dataclass(frozen=True, slots=True)
class PcaFeatures:
    """Projection of pixels on their directions of largest variance.

    Attributes:
        mean: (C H W,), float32, of pixels in [-1, 1].
        components: (F, C H W), float32, orthonormal rows.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    def transform(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`partition.features.Features`."""
        centred = _flat(images) - self.mean
        return (centred @ self.components.T).astype(np.float32, copy=False)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See :class:`partition.features.Features`."""
        return {"pca_mean": self.mean, "pca_components": self.components}


def fit_pca(intake: Images, dims: int, progress: Callable[[int, int | None], None]) -> PcaFeatures:
    """Fit principal components to images, 65,536 spread evenly where there are more.

    Of small images the covariance of all pixels is added up, and its eigenvectors are the
    components exactly, in a tenth of the time. Of larger ones it would not fit into memory.

    Args:
        intake: the images.
        dims: components wanted; fewer where the pixels or the samples are fewer.
        progress: called with the number of samples seen.

    Raises:
        DataError: there are not two samples.
    """
    num_pixels = int(np.prod(intake.shape))
    batch_rows = max(dims, _BATCH_BYTES // (4 * num_pixels))
    fit = _Covariance(num_pixels) if num_pixels <= _MOST_PIXELS else _Incremental(dims)
    done = 0
    for images in intake.images(batch_rows, _MOST):
        if done + len(images) < 2:
            raise DataError("the data hold a single sample; there is nothing to partition")
        fit.add(_flat(images))
        done += len(images)
        progress(done, None)
    return fit.features(min(dims, num_pixels, done))


class _Covariance:
    """Sums over all pixels and pairs of them, in float64."""

    def __init__(self, num_pixels: int) -> None:
        self._num = 0
        self._sum = np.zeros(num_pixels)
        self._products = np.zeros((num_pixels, num_pixels))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Count some samples, (n, C H W)."""
        self._num += len(rows)
        self._sum += rows.sum(0, dtype=np.float64)
        self._products += rows.T @ rows

    def features(self, dims: int) -> PcaFeatures:
        """The components of largest variance, each with its largest part above 0."""
        from scipy.linalg import eigh  # noqa: PLC0415 - transform does without

        mean = self._sum / self._num
        covariance = self._products / self._num - np.outer(mean, mean)
        last = len(mean) - 1
        _, vectors = eigh(covariance, subset_by_index=[last - dims + 1, last])
        components = vectors.T[::-1]
        largest = np.abs(components).argmax(1, keepdims=True)
        components = components * np.sign(np.take_along_axis(components, largest, 1))
        return PcaFeatures(mean.astype(np.float32), np.ascontiguousarray(components, np.float32))


class _Incremental:
    """Components of the samples so far, from those before and some more samples.

    Source: Ross et al., Incremental Learning for Robust Visual Tracking (IJCV 2008), section 3.1.
    """

    def __init__(self, dims: int) -> None:
        self._dims = dims
        self._model: IncrementalPCA | None = None

    def add(self, rows: NDArray[np.float32]) -> None:
        """Count some samples, (n, C H W)."""
        from sklearn.decomposition import IncrementalPCA  # noqa: PLC0415 - transform does without

        self._model = self._model or IncrementalPCA(min(self._dims, *rows.shape))
        # Pixels that never change have no variance to take a ratio of.
        with np.errstate(divide="ignore", invalid="ignore"):
            self._model.partial_fit(rows)

    def features(self, dims: int) -> PcaFeatures:
        """The components; so many at most."""
        assert self._model is not None
        return PcaFeatures(
            self._model.mean_.astype(np.float32),
            np.ascontiguousarray(self._model.components_[:dims], np.float32),
        )


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return to_unit(images).reshape(len(images), -1)
