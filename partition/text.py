"""Captions as vectors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class TextEncoder(Protocol):
    """What turns captions into what a text-conditioned network sees.

    Attributes:
        name: stands in a checkpoint's compat; two encoders of one name give equal vectors.
        dims: length of a vector.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dims(self) -> int: ...  # noqa: D102

    def encode(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of captions, (N, dims) float32; a row of zeros for an empty caption."""
        ...


class HashedNgrams:
    """Character n-grams of each word hashed to a vector of length 1: small, offline, no weights.

    Args:
        dims: length of a vector.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning (arXiv 0902.2206).
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.name = f"char-ngrams-2-4-{dims}"

    def encode(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """See :class:`TextEncoder`."""
        rows: NDArray[np.float32] = self._vectorizer.transform(captions).toarray()
        return rows

    @functools.cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import (  # noqa: PLC0415 - unlabelled data never wait
            HashingVectorizer,
        )

        return HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), n_features=self.dims, dtype=np.float32
        )
