"""Samples as they are stored, some at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as they are stored, all of one bucket.

    Attributes:
        images: (B, H, W, C), uint8; or what an autoencoder made of them, (B, C, h, w) or, of
            moments, (B, 2 C, h, w), float16, see :class:`partition.manifest.Latents`; both of what
            it made of the image and of its mirror image, (B, 2, ...), where there are two.
        labels: (B,), int64; -1 for samples without a label.
        clusters: (B,), int64; the cluster each sample belongs to.
        captions: B texts; None for data without captions.
        indices: (B,), int64; which sample of the reader each row is.
        texts: what a text encoder made of the captions, (B, dims) or (B, tokens, dims), float16;
            None where nothing did beforehand.
        features: what the samples were clustered by, (B, F) float32; None unless asked for.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    captions: tuple[str, ...] | None
    indices: NDArray[np.int64]
    texts: NDArray[np.float16] | None = None
    features: NDArray[np.float32] | None = None
