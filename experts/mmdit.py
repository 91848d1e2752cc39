"""A transformer in which image and text attend together, for large experts.

It is arranged as FLUX.1 is, with positions on two axes rather than three, a caption's vector from
the same embeddings as its tokens, and no distilled guidance.

Source: Esser et al., Scaling Rectified Flow Transformers (arXiv 2403.03206), section 4; McAllister
et al., Decentralized Diffusion Models (arXiv 2501.05450), for the 3B "FLUX-like" expert.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atoll.flops import Shape
from atoll.sizes import MMDiTSizes
from experts.alignment import Aligner, aligned
from experts.blocks import FinalLayer
from experts.condition import Conditioning
from experts.dit import shape_of
from experts.embeddings import PatchEmbed, TimestepEmbedder, unpatchify
from experts.mmdit_blocks import DoubleBlock, SingleBlock
from experts.places import positions_of
from experts.rotary import grid_rotations
from experts.told import words_of


class MMDiT(nn.Module):
    """A velocity field learned by a transformer on patches and words.

    It takes images of any sides that its patch divides, whatever its own shape.

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
        streams, shape = self.embed(x_t, t, cond), shape_of(x_t)
        if self.aligner is not None and self.training:
            return aligned(self, *streams, shape=shape)
        return self.finish(*self.advance(*streams), shape=shape)

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor, ...]:
        """What the first block is given.

        Returns:
            Tokens of text and image, (B, T + N, D); what each block is told, (B, D); and for images
            of another shape than the network's own their positions, see :mod:`experts.rotary`.
        """
        places = positions_of(x_t, self, grid_rotations, self.sizes.width // self.sizes.heads)
        words = self.y_embedder(cond, len(x_t))
        x = torch.cat([words.tokens, self.x_embedder(x_t)], dim=1)
        c = self.t_embedder(t) + words.pooled
        return (x, c) if places is self.pos_embed else (x, c, places)

    def advance(
        self, x: Tensor, c: Tensor, *places: Tensor, blocks: nn.ModuleList | None = None
    ) -> tuple[Tensor, ...]:
        """The same after some blocks, by default all that are here."""
        for block in self.blocks if blocks is None else blocks:
            x = block(x, c, self._rotations(*places))
        return x, c, *places

    def image_tokens(self, x: Tensor, _: Tensor, *places: Tensor) -> Tensor:
        """Those of the image, after those of the text."""
        return x[:, -len(self._rotations(*places)) :]

    def finish(self, x: Tensor, c: Tensor, *places: Tensor, shape: Shape | None = None) -> Tensor:
        """The velocity, (B, C, H, W), of images of a shape, by default the network's own."""
        image = self.final_layer(self.image_tokens(x, c, *places), c)
        return unpatchify(image, shape or self.shape, self.sizes.patch)

    def _rotations(self, *places: Tensor) -> Tensor:
        return places[0] if places else self.pos_embed[self.own]
