"""Samples that are nearly the same as others, by their features.

Source: Abbas et al., SemDeDup: Data-efficient learning at web-scale through semantic deduplication
(arXiv 2303.09540), section 3.
"""

from __future__ import annotations

import hashlib
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
    one goes as well. Equal rows are compared with others as one, the first of them. Rows of zeros
    are like nothing.

    Args:
        rows: features, (N, F).
        epsilon: above 0.
        seed: of the centroids.
    """
    centroids, _ = fine_centroids(rows, -(-len(rows) // _GROUP), seed)
    nearest, empty, digests = [], [], bytearray()
    for chunk in rows.chunks():
        for first in range(0, len(chunk), _ASSIGNED):
            part = chunk[first : first + _ASSIGNED]
            nearest.append(squared_distances(part, centroids).argmin(1).astype(np.int32))
            for row in part:
                digests += hashlib.blake2b(row, digest_size=16).digest()
            empty.append(~part.any(1))
    firsts = _firsts(digests)
    repeats = np.flatnonzero((firsts != np.arange(len(rows))) & ~np.concatenate(empty))
    distinct, counts = np.unique(firsts, return_counts=True)
    groups = np.concatenate(nearest)[distinct]
    by_group = np.argsort(groups, kind="stable")
    bounds = np.cumsum(np.bincount(groups, minlength=len(centroids)))
    found = [(repeats, firsts[repeats], np.ones(len(repeats), np.float32))] + [
        _within(_unit(rows.take(distinct[group])), distinct[group], counts[group], epsilon)
        for group in np.split(by_group, bounds[:-1])
        if len(group) > 1
    ]
    indices, twins, similarities = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(indices)
    return Duplicates(indices[order], twins[order], similarities[order])


def _firsts(digests: bytearray) -> NDArray[np.int64]:
    """Of each row the first that is equal to it, (N,): itself, where none before it is.

    However often a placeholder stands in the data, it is compared with others but once.
    """
    each = np.frombuffer(digests, "S16")
    _, first, which = np.unique(each, return_index=True, return_inverse=True)
    firsts: NDArray[np.int64] = first[which]
    return firsts


_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def _within(
    units: NDArray[np.float32],
    members: NDArray[np.int64],
    counts: NDArray[np.int64],
    epsilon: float,
) -> _Found:
    """The duplicates among a group's distinct rows of length 1, and the samples they are of.

    Memory beside that of the rows is that of one block by another.
    """
    # Nearness as whole numbers of a ten-thousandth, so that rounding decides on no order.
    middle = _unit((counts.astype(np.float32) @ units)[None])[0]
    order = np.lexsort((members, np.rint(units @ middle * 1e4)))
    units, members = units[order], members[order]
    highest = np.full(len(units), -np.inf, np.float32)  # cosine of each to any before it
    most = np.zeros(len(units), np.int64)  # and to which
    for first in range(0, len(units), _BLOCK):
        block = slice(first, first + _BLOCK)
        for other in range(0, first + 1, _BLOCK):
            cosines = units[block] @ units[other : other + _BLOCK].T
            if other == first:
                cosines[~np.tri(len(cosines), k=-1, dtype=np.bool_)] = -np.inf
            at = cosines.argmax(1)
            best = cosines[np.arange(len(at)), at]
            higher = best > highest[block]
            highest[block] = np.where(higher, best, highest[block])
            most[block] = np.where(higher, other + at, most[block])
    near = np.flatnonzero(highest > 1 - epsilon)
    return members[near], members[most[near]], highest[near]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; those of length 0 as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return units
