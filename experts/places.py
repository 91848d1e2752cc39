"""Positions of tokens of images that may be of another shape than a network's own.

A network keeps those of its own shape in a buffer, which is exchanged with its weights. Those of
other shapes are constants, made once for all networks of a process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from atoll.sizes import NetworkSizes

_MOST = 64  # grids that are kept, of all networks

# From rows and columns of a grid, and the features of a place, to positions on the CPU.
Make = Callable[[int, int, int], Tensor]


class Placed(Protocol):
    """A network that has a shape of its own, (C, H, W), and the positions of that."""

    pos_embed: Tensor
    shape: tuple[int, int, int]

    @property
    def sizes(self) -> NetworkSizes:
        """How large it is."""
        ...


def positions_of(x_t: Tensor, network: Placed, make: Make, dims: int) -> Tensor:
    """Positions of the tokens of images, as ``make`` gives them, and as the network's own are kept.

    Args:
        x_t: images, (B, C, H, W); the network's patch divides their sides.
        network: that sees them.
        make: what its own positions were made by.
        dims: features of a place.
    """
    own, (height, width) = network.pos_embed, x_t.shape[2:]
    if (height, width) == network.shape[1:]:
        return own
    grid = height // network.sizes.patch, width // network.sizes.patch
    return table(make, grid, dims, own.dtype, own.device)


def table(
    make: Make, grid: tuple[int, int], dims: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Positions of a grid, a constant of graphs: see :mod:`experts.compiled`."""
    return _made(make, grid, dims, dtype, device)


@functools.lru_cache(_MOST)
def _made(
    make: Make, grid: tuple[int, int], dims: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # Whoever asks first may be drawing, and the next one learning from the same tensor.
    with torch.inference_mode(False):
        return make(*grid, dims).to(device, dtype)
