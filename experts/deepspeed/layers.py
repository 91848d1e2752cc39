"""A DiT as the layers that DeepSpeed's pipeline passes tuples through."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atoll.errors import ConfigError
from experts.dit import DiT
from experts.embeddings import unpatchify

Tokens = tuple[Tensor, Tensor]  # x (B, N, D) and c (B, D), see experts.blocks.Block


class Entry(nn.Module):
    """Embeds an image, its time and its condition."""

    pos_embed: Tensor

    def __init__(self, network: DiT) -> None:
        super().__init__()
        self.x_embedder, self.t_embedder = network.x_embedder, network.t_embedder
        self.y_embedder = network.y_embedder
        self.register_buffer("pos_embed", network.pos_embed)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tokens:
        """Tokens of (x_t, t), or (x_t, t, cond); see :class:`experts.flow.VelocityField`."""
        x_t, t, *cond = inputs
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            c = c + self.y_embedder(*cond)
        return self.x_embedder(x_t) + self.pos_embed, c


class Middle(nn.Module):
    """One block; what it is conditioned on goes on beside the tokens."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, inputs: Tokens) -> Tokens:
        """One layer of the transformer."""
        x, c = inputs
        return self.block(x, c), c


class Exit(nn.Module):
    """Back to an image."""

    def __init__(self, network: DiT) -> None:
        super().__init__()
        self.final_layer = network.final_layer
        self._shape, self._patch = network.shape, network.sizes.patch

    def forward(self, inputs: Tokens) -> Tensor:
        """The velocity, (B, C, H, W)."""
        return unpatchify(self.final_layer(*inputs), self._shape, self._patch)


def layers_of(network: nn.Module) -> list[nn.Module]:
    """All layers of a DiT; they share their weights with it.

    Raises:
        ConfigError: it is no DiT.
    """
    if not isinstance(network, DiT):
        raise ConfigError(
            f'island.parallel.schedule = "deepspeed" cuts DiTs alone, and this is a '
            f"{type(network).__name__}; choose another schedule"
        )
    return [Entry(network), *(Middle(block) for block in network.blocks), Exit(network)]


def drop(network: nn.Module, kept: set[nn.Parameter]) -> None:
    """Free the memory of all other weights of a network; it keeps their names."""
    for parameter in network.parameters():
        if parameter not in kept:
            parameter.data = torch.empty(0, dtype=parameter.dtype, device=parameter.device)
