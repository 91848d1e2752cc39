"""What images are clustered by."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atoll.command import Progress
from atoll.sections import PartitionSection
from partition.intake import Images
from partition.pca import PcaFeatures, fit_pca
from partition.rowfile import RowFile

BATCH = 256


class Features(Protocol):
    """A map from images to vectors whose distances mean something."""

    def transform(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors of images.

        Args:
            images: (B, H, W, C), uint8.

        Returns:
            (B, F), float32.
        """
        ...

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What :func:`restore_features` needs to make the same map again."""
        ...


def fit_features(section: PartitionSection, intake: Images, progress: Progress) -> Features:
    """The map a configuration asks for, fitted to the data where it has parameters.

    Raises:
        DataError: the data cannot be read.
        BadInput: the model cannot be loaded.
    """
    if section.features == "pca":
        return fit_pca(intake, section.pca_dims, functools.partial(progress, "fitting features"))
    from partition.vision import VisionFeatures  # noqa: PLC0415 - torch loads for seconds

    return VisionFeatures(section.features.transformers)


def restore_features(arrays: dict[str, NDArray[np.generic]]) -> Features:
    """The map whose :meth:`Features.arrays` these are."""
    if "transformers" in arrays:
        from partition.vision import VisionFeatures  # noqa: PLC0415 - torch loads for seconds

        return VisionFeatures(str(arrays["transformers"]))
    return PcaFeatures(
        arrays["pca_mean"].astype(np.float32), arrays["pca_components"].astype(np.float32)
    )


def write_features(features: Features, intake: Images, path: Path, progress: Progress) -> RowFile:
    """Features of all samples, in their order, in a file."""
    rows: RowFile | None = None
    done = 0
    for images in intake.images(BATCH):
        vectors = features.transform(images)
        rows = rows or RowFile(path, vectors.shape[1])
        rows.append(vectors)
        done += len(vectors)
        progress("computing features", done, None)
    return rows or RowFile(path, 1)
