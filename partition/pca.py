"""Principal components of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.errors import DataError
from partition.intake import Images
from partition.pixels import to_unit

_BATCH_BYTES = 16 << 20
_MOST = 65_536  # samples: to look at more takes most of a partition's time, and tells nothing new


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

    Args:
        intake: the images.
        dims: components wanted; fewer where the pixels or the samples are fewer.
        progress: called with the number of samples seen.

    Raises:
        DataError: there are not two samples.

    Source: Ross et al., Incremental Learning for Robust Visual Tracking (IJCV 2008), section 3.1.
    """
    from sklearn.decomposition import IncrementalPCA  # noqa: PLC0415 - transform does without

    num_pixels = int(np.prod(intake.shape))
    batch_rows = max(dims, _BATCH_BYTES // (4 * num_pixels))
    model: IncrementalPCA | None = None
    done = 0
    for images in intake.images(batch_rows, _MOST):
        model = model or IncrementalPCA(min(dims, num_pixels, len(images)))
        if done + len(images) < 2:
            raise DataError("the data hold a single sample; there is nothing to partition")
        # Pixels that never change have no variance to take a ratio of.
        with np.errstate(divide="ignore", invalid="ignore"):
            model.partial_fit(_flat(images))
        done += len(images)
        progress(done, None)
    assert model is not None
    return PcaFeatures(
        model.mean_.astype(np.float32), np.ascontiguousarray(model.components_, np.float32)
    )


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return to_unit(images).reshape(len(images), -1)
