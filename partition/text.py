"""Captions as vectors."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class TextEncoder(Protocol):
    """What turns captions into what a text-conditioned network sees.

    Attributes:
        name: stands in a checkpoint's compat; two encoders of one name give equal vectors.
        dims: length of a vector.
        tokens: of a caption, at most, each a vector; 0 for one vector of the whole.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dims(self) -> int: ...  # noqa: D102
    @property
    def tokens(self) -> int: ...  # noqa: D102

    def encode(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of captions.

        Returns:
            (N, dims) float32, or (N, tokens, dims), where a caption of fewer ends in zeros; zeros
            alone for an empty caption.
        """
        ...

    def is_cut(self, caption: str) -> bool:
        """Whether a caption has more tokens than are heard."""
        ...


class HashedNgrams:
    """Character n-grams of each word hashed to a vector of length 1: small, offline, no weights.

    Args:
        dims: length of a vector.
        tokens: words of a caption, at most, each a vector; 0 for one vector of all.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning (arXiv 0902.2206).
    """

    def __init__(self, dims: int, tokens: int = 0) -> None:
        self.dims, self.tokens = dims, tokens
        self.name = f"char-ngrams-2-4-{dims}"

    def encode(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """See :class:`TextEncoder`."""
        if not self.tokens:
            return self._vectors(captions)
        words = [caption.split()[: self.tokens] for caption in captions]
        rows = np.zeros((len(captions), self.tokens, self.dims), np.float32)
        places = [(row, place) for row, each in enumerate(words) for place in range(len(each))]
        if places:
            rows[tuple(zip(*places, strict=True))] = self._vectors([*itertools.chain(*words)])
        return rows

    def is_cut(self, caption: str) -> bool:
        """See :class:`TextEncoder`."""
        return 0 < self.tokens < len(caption.split())

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._vectorizer.transform(texts).toarray()
        return rows

    @functools.cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import (  # noqa: PLC0415 - unlabelled data never wait
            HashingVectorizer,
        )

        return HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), n_features=self.dims, dtype=np.float32
        )
