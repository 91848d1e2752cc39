"""What turns images into the features they are compared in."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.sections import TransformersFeatures
from evaluation.classifier import classifier_features
from evaluation.real import RealImages
from partition.vision import VisionFeatures

_BATCH = 256


class Extractor(Protocol):
    """A map from images to features; figures of two extractors cannot be compared."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def digest(self) -> str:
        """sha256 (hex) of its weights."""
        ...

    @property
    def accuracy(self) -> float | None:
        """Share of held-out real images it classifies rightly; None if it was not trained here."""
        ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of images.

        Args:
            images: (B, H, W, C), uint8.

        Returns:
            (B, F), float32.
        """
        ...


class VisionExtractor:
    """A pretrained image model, such as DINOv2.

    Args:
        model: hub id or folder, see :class:`partition.vision.VisionFeatures`.

    Raises:
        BadInput: the model cannot be loaded; says why.
    """

    accuracy = None

    def __init__(self, model: str) -> None:
        self.name = model
        self._features = VisionFeatures(model)

    @property
    def digest(self) -> str:
        """See :class:`Extractor`."""
        return self._features.digest

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Extractor`."""
        starts = range(0, len(images), _BATCH)
        return np.concatenate(
            [self._features.transform(images[start : start + _BATCH]) for start in starts]
        )


def open_extractor(config: Config, store: BlobStore, real: RealImages) -> Extractor:
    """The extractor a configuration asks for.

    Args:
        config: of the run.
        store: of the run; a classifier trained here is kept in it.
        real: what the classifier learns from: classes, or clusters where there are not two.

    Raises:
        BadInput: the model cannot be loaded.
        DataError: there is nothing to tell apart.
    """
    choice = config.evaluation.extractor
    if isinstance(choice, TransformersFeatures):
        return VisionExtractor(choice.transformers)
    told_apart = bool((real.labels != real.labels[0]).any())  # those without a label are all alike
    return classifier_features(store, real.images, real.labels if told_apart else real.clusters)
