"""Alignment of a network's hidden states with features of the clean image.

A small network reads the mean of the image's tokens after some of the blocks, and its answer shall
point where the image's features do. It is asked in training alone, where its answer follows the
velocity's in one row, so that every engine passes both on. It takes no part in sampling.

The paper aligns each token with a patch's features of DINOv2; here are the features that the data
were clustered by, one vector of an image, so that nothing is extracted anew.

Source: Yu et al., Representation Alignment for Generation (arXiv 2410.06940), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atoll.flops import Shape, linear_flops

_PREFIX = "aligner."  # of its weights in a network's state


class Aligner(nn.Module):
    """From tokens of an image to where its features point.

    Args:
        width: of a token.
        dims: of the features.
        depth: blocks before it.
    """

    def __init__(self, width: int, dims: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.mlp = nn.Sequential(
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, dims),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """What is said of images, (B, dims), by their tokens, (B, N, D)."""
        said: Tensor = self.mlp(tokens.mean(1))
        return said


class Streamed(Protocol):
    """A network that can be asked block by block."""

    blocks: nn.ModuleList

    @property
    def advance(self) -> Callable[..., tuple[Tensor, ...]]:
        """From streams of tokens and what is told to the same after ``blocks``, by default all."""
        ...

    @property
    def finish(self) -> Callable[..., Tensor]:
        """From the streams, and by name the shape of the images, to the velocity."""
        ...


class Alignable(Streamed, Protocol):
    """What an aligner can look into."""

    aligner: Aligner | None

    @property
    def image_tokens(self) -> Callable[..., Tensor]:
        """From the streams to those of the image, among all tokens."""
        ...


def aligned(network: Alignable, *streams: Tensor, shape: Shape | None = None) -> Tensor:
    """What a network answers, and what its aligner says on the way: (B, C H W + dims).

    Args:
        network: has an aligner.
        streams: what its first block is given: tokens, (B, N, D), and what blocks are told.
        shape: of the images; None for the network's own.
    """
    assert network.aligner is not None
    depth = network.aligner.depth
    streams = network.advance(*streams, blocks=network.blocks[:depth])
    said = network.aligner(network.image_tokens(*streams))
    streams = network.advance(*streams, blocks=network.blocks[depth:])
    return torch.cat([network.finish(*streams, shape=shape).flatten(1), said], dim=1)


def parted(rows: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """An answer of :func:`aligned`, or its target, as velocities (B, *shape) and features."""
    num = torch.Size(shape).numel()
    return rows[:, :num].reshape(-1, *shape), rows[:, num:]


def alignment_loss(said: Tensor, features: Tensor) -> Tensor:
    """One less the cosine between what is said and the features, (B, dims) each: (B,) float32."""
    return 1 - F.cosine_similarity(said.float(), features, dim=1)


def without_aligner(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's state without its aligner's: what is left to sample from."""
    return {name: each for name, each in weights.items() if not name.startswith(_PREFIX)}


def aligner_flops(width: int, dims: int) -> int:
    """Operations of an aligner on one image."""
    return 2 * linear_flops(1, width, width) + linear_flops(1, width, dims)
