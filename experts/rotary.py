"""Positions as rotations of queries and keys, so that attention sees how far apart tokens are.

Source: Su et al., RoFormer (arXiv 2104.09864), for one axis; half of a head's features are turned
by a token's row here, and half by its column.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experts.embeddings import grid_angles


def grid_rotations(rows: int, columns: int, head_dims: int) -> Tensor:
    """Cosines and sines of a grid of tokens, row by row.

    Args:
        rows: tokens down the image.
        columns: tokens across it.
        head_dims: features of a head, a multiple of 4.

    Returns:
        (rows * columns, 2, head_dims / 2) float32: cosines, then sines, each of the row's angles
        and then of the column's.
    """
    angles = torch.cat(grid_angles(rows, columns, head_dims // 4), dim=1)
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Turn the last tokens by their positions; those before lie at 0 and stay.

    Args:
        x: queries or keys, (B, heads, T + N, d).
        rotations: of the last N tokens, (N, 2, d / 2).

    Returns:
        (B, heads, T + N, d).
    """
    still, turned = x.tensor_split([x.shape[2] - len(rotations)], dim=2)
    cos, sin = rotations.unbind(1)
    first, second = turned.chunk(2, dim=3)
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=3)
    return torch.cat([still, turned], dim=2)
