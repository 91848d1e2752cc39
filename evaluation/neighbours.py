"""Fidelity and variety told apart, by balls around every sample to its k-th neighbour.

Distances are taken block by block, so that memory grows with the number of samples only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atoll.errors import BadInput
from evaluation.frechet import Features

NEAREST = 5  # the neighbour a ball reaches to, where nobody says otherwise
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Four shares; all but density lie between 0 and 1, more is better.

    Attributes:
        precision: generated samples inside a ball of the real ones: are the images good?
        recall: real samples inside a ball of the generated ones: are all kinds there?
        density: real balls around a generated sample, over their expected number: like precision,
            but an outlier among the real samples counts for little.
        coverage: real balls with a generated sample inside: like recall, but an outlier among the
            generated samples counts for nothing.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(real: Features, generated: Features, k: int = NEAREST) -> Neighbours:
    """Precision, recall, density and coverage.

    Args:
        real: features (N, F).
        generated: features (M, F).
        k: which neighbour a ball reaches to, itself not counted and not inside.

    Raises:
        BadInput: a set has no k-th neighbour.

    Source: Kynkäänniemi et al. (arXiv 1904.06991), section 2; Naeem et al. (arXiv 2002.09797),
        section 3.
    """
    smaller = min(len(real), len(generated))
    if smaller <= k:
        raise BadInput(f"balls to the {k}-th neighbour need more than {k} samples, got {smaller}")
    x, y = torch.from_numpy(np.asarray(real)), torch.from_numpy(np.asarray(generated))
    around_real, around_generated = _radii(x, k), _radii(y, k)
    balls = torch.zeros(len(y))  # how many real balls each generated sample lies in
    recalled, covered = 0, 0
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = _distances(x[rows], y)
        inside = distances < around_real[rows, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances < around_generated[None]).any(1).sum())
    return Neighbours(
        precision=float((balls > 0).double().mean()),
        recall=recalled / len(x),
        density=float(balls.double().mean()) / k,
        coverage=covered / len(x),
    )


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of every row to its k-th neighbour, (N,)."""
    blocks = [
        # The nearest is the row itself.
        _distances(block, x).kthvalue(k + 1, dim=1).values
        for block in torch.split(x, _BLOCK)
    ]
    return torch.cat(blocks)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # By products, which is several times faster; float64 keeps a sample at distance 0 from itself.
    return torch.cdist(x.double(), y.double(), compute_mode="use_mm_for_euclid_dist")
