"""Tokens that pass by the blocks in the middle of a network while it is trained.

Which ones is drawn anew for every image and step. They come back as they were, among those that
have been through the blocks; where a network is only asked, all tokens go through all blocks.

Source: Krause et al., TREAD (arXiv 2501.04765), section 3.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from atoll.flops import Shape
from atoll.routing import Routing
from experts.alignment import Streamed


class Routed(Streamed, Protocol):
    """What tokens can be led around the blocks of."""

    routing: Routing | None


def draw_kept(routing: Routing, num: int, num_tokens: int, generator: torch.Generator) -> Tensor:
    """Which tokens of each image go through the blocks, (num, kept) int64, in order."""
    order = torch.rand(num, num_tokens, generator=generator).argsort(1)
    return order[:, : routing.num_kept(num_tokens)].sort(1).values


def routed(network: Routed, kept: Tensor, *streams: Tensor, shape: Shape | None = None) -> Tensor:
    """What a network answers if some tokens pass by.

    Args:
        network: has a routing.
        kept: see :func:`draw_kept`.
        streams: what its first block is given: tokens, (B, N, D), and what blocks are told.
        shape: of the images; None for the network's own.
    """
    assert network.routing is not None
    around = network.routing.blocks(len(network.blocks))
    x, *told = network.advance(*streams, blocks=network.blocks[: around.start])
    places = kept.unsqueeze(2).expand(-1, -1, x.shape[2])
    some, *_ = network.advance(x.gather(1, places), *told, blocks=network.blocks[around])
    x = x.scatter(1, places, some)
    streams = network.advance(x, *told, blocks=network.blocks[around.stop :])
    return network.finish(*streams, shape=shape)
