"""Samples that are nearly the same as others, by their features.

Source: Abbas et al., SemDeDup: Data-efficient learning at web-scale through semantic deduplication
(arXiv 2303.09540), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partition.centroids import squared_distances
from partition.kmeans import fine_centroids
from partition.rowfile import RowFile

_GROUP = 1024  # samples of a group on average: time goes with their square
_BLOCK = 1024  # of them are compared at a time with those before
_ASSIGNED = 4096  # samples at a time


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Samples that are to be let go, and why.

    Attributes:
        indices: (D,), int64, ascending.
        twins: (D,), int64; of each the sample it is most like, of those that come before it.
        similarities: (D,), float32; cosine to that one.
    """

    indices: NDArray[np.int64]
    twins: NDArray[np.int64]
    similarities: NDArray[np.float32]

    def __len__(self) -> int:
        """D."""
        return len(self.indices)


def find_duplicates(rows: RowFile, epsilon: float, seed: int) -> Duplicates:
    """Samples whose features have a cosine above 1 - epsilon to those of one that comes before.

    Only samples of one fine centroid are compared with each other, as many centroids as give each
    some 1,024 samples. Those least like the mean of their group come first, and of equally far ones
    the first in the data: so of samples that are like each other the one farthest from the middle
    stays, as in the paper. A sample goes if it is like one that comes before it, even where that
    one goes as well. Rows of zeros are like nothing.

    Args:
        rows: features, (N, F).
        epsilon: above 0.
        seed: of the centroids.
    """
    centroids, _ = fine_centroids(rows, -(-len(rows) // _GROUP), seed)
    nearest = [
        squared_distances(chunk[first : first + _ASSIGNED], centroids).argmin(1)
        for chunk in rows.chunks()
        for first in range(0, len(chunk), _ASSIGNED)
    ]
    groups = np.concatenate(nearest).astype(np.int32)
    by_group = np.argsort(groups, kind="stable")
    bounds = np.cumsum(np.bincount(groups, minlength=len(centroids)))
    found = [
        _within(_unit(rows.take(members)), members, epsilon)
        for members in np.split(by_group, bounds[:-1])
        if len(members) > 1
    ]
    indices, twins, similarities = (
        np.concatenate(part) for part in zip(_NONE, *found, strict=True)
    )
    order = np.argsort(indices)
    return Duplicates(indices[order], twins[order], similarities[order])


_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
_NONE: _Found = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _within(units: NDArray[np.float32], members: NDArray[np.int64], epsilon: float) -> _Found:
    """The duplicates among a group's rows of length 1, and the samples they are of."""
    # Nearness as whole numbers of a ten-thousandth, so that rounding decides on no order.
    nearness = np.rint(units @ _unit(units.mean(0, keepdims=True))[0] * 1e4)
    order = np.lexsort((members, nearness))
    units, members = units[order], members[order]
    found = [_NONE]
    for first in range(0, len(units), _BLOCK):
        block = units[first : first + _BLOCK]
        before = np.tri(len(block), first + len(block), first - 1, np.bool_)
        cosines = np.where(before, block @ units[: first + len(block)].T, -np.inf)
        most = cosines.argmax(1)
        highest = cosines[np.arange(len(block)), most]
        near = np.flatnonzero(highest > 1 - epsilon)
        found.append((members[first + near], members[most[near]], highest[near]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))  # type: ignore[return-value]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; those of length 0 as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return units
