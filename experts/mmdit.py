"""A transformer in which image and text attend together, for large experts.

It is arranged as FLUX.1 is, with positions on two axes rather than three, a caption's vector from
the same embeddings as its tokens, and no distilled guidance.

Source: Esser et al., Scaling Rectified Flow Transformers (arXiv 2403.03206), section 4; McAllister
et al., Decentralized Diffusion Models (arXiv 2501.05450), for the 3B "FLUX-like" expert.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atoll.sizes import MMDiTSizes
from experts.alignment import Aligner, aligned
from experts.blocks import FinalLayer
from experts.condition import Conditioning
from experts.dit import Shape
from experts.embeddings import PatchEmbed, TimestepEmbedder, unpatchify
from experts.mmdit_blocks import DoubleBlock, SingleBlock
from experts.rotary import grid_rotations
from experts.told import words_of


class MMDiT(nn.Module):
    """A velocity field learned by a transformer on patches and words.

    Attributes:
        own: which of an image's tokens the blocks in this process are given.
        aligner: see :mod:`experts.alignment`; None without one.
    """

    pos_embed: Tensor

    def __init__(self, sizes: MMDiTSizes, conditioning: Conditioning, shape: Shape) -> None:
        super().__init__()
        channels, height, width = shape
        self.sizes, self.conditioning, self.shape = sizes, conditioning, shape
        self.x_embedder = PatchEmbed(channels, sizes.patch, sizes.width)
        self.t_embedder = TimestepEmbedder(sizes.width)
        self.y_embedder = words_of(conditioning, sizes.width)
        rows, columns = height // sizes.patch, width // sizes.patch
        rotations = grid_rotations(rows, columns, sizes.width // sizes.heads)
        self.register_buffer("pos_embed", rotations)
        self.own = slice(None)
        double = (DoubleBlock(sizes.width, sizes.heads) for _ in range(sizes.double))
        single = (SingleBlock(sizes.width, sizes.heads) for _ in range(sizes.single))
        self.blocks = nn.ModuleList([*double, *single])
        self.final_layer = FinalLayer(sizes.width, sizes.patch, channels)
        self.aligner: Aligner | None = None

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """See :class:`experts.flow.VelocityField`; in training, an aligner's word as well."""
        x, c = self.embed(x_t, t, cond)
        if self.aligner is not None and self.training:
            return aligned(self, x, c)
        return self.finish(*self.advance(x, c))

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens of text and image, (B, T + N, D), and what each block is told, (B, D)."""
        words = self.y_embedder(cond, len(x_t))
        x = torch.cat([words.tokens, self.x_embedder(x_t)], dim=1)
        return x, self.t_embedder(t) + words.pooled

    def advance(
        self, x: Tensor, c: Tensor, *, blocks: nn.ModuleList | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same after some blocks, by default all that are here."""
        for block in self.blocks if blocks is None else blocks:
            x = block(x, c, self.pos_embed[self.own])
        return x, c

    def image_tokens(self, x: Tensor) -> Tensor:
        """Those of the image, after those of the text."""
        return x[:, -len(self.pos_embed[self.own]) :]

    def finish(self, x: Tensor, c: Tensor) -> Tensor:
        """The velocity, (B, C, H, W)."""
        image = self.final_layer(self.image_tokens(x), c)
        return unpatchify(image, self.shape, self.sizes.patch)
