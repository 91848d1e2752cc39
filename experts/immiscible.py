"""Which noise each image of a batch goes to: the nearer one, as far as there are enough.

Source: Li et al., Immiscible Diffusion (arXiv 2406.12303).
"""

from __future__ import annotations

import torch
from torch import Tensor


def assigned(images: Tensor, noise: Tensor, size: int) -> Tensor:
    """The same noises in the order in which groups of images are nearest to theirs.

    Args:
        images: (B, C, H, W).
        noise: (B, C, H, W).
        size: consecutive rows in a group; the last one may have fewer.

    Returns:
        Noises, (B, C, H, W), of the least sum of distances within each group.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - trainers start without

    order: list[int] = []
    for first in range(0, len(noise), size):
        group = slice(first, first + size)
        distances = torch.cdist(
            images[group].flatten(1),
            noise[group].flatten(1),
            # Squares by a product of matrices would round the differences away.
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        _, nearest = linear_sum_assignment(distances.numpy())
        order += (first + nearest).tolist()
    return noise[order]
