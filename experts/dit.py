"""The diffusion transformer that an expert is, unless it is an MMDiT.

State-dict keys and shapes are those of facebookresearch/DiT without its learned sigma.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748);
Chen et al., PixArt-alpha (arXiv 2310.00426), section 2.3, for cross-attention to captions and for
modulation that all blocks share (adaLN-single).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atoll.patches import refuse_patch
from atoll.routing import Routing
from atoll.sizes import Sizes
from experts.alignment import Aligner, aligned
from experts.blocks import Block, FinalLayer, Modulation, fresh
from experts.condition import Conditioning
from experts.cross_attention import CaptionTokens, heard_tokens
from experts.dialect import OURS, Dialect
from experts.embeddings import (
    PatchEmbed,
    TimestepEmbedder,
    condition_embedder,
    sincos_positions,
    unpatchify,
)
from experts.places import positions_of
from experts.routing import routed

Shape = tuple[int, int, int]  # channels, height, width


class DiT(nn.Module):
    """A velocity field learned by a transformer on patches.

    It takes images of any sides that its patch divides, whatever its own shape.

    Attributes:
        aligner: see :mod:`experts.alignment`; None without one.
        routing: see :mod:`experts.routing`; None without one.
    """

    pos_embed: Tensor

    def __init__(
        self,
        sizes: Sizes,
        conditioning: Conditioning,
        shape: Shape,
        dialect: Dialect = OURS,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.sizes, self.conditioning, self.shape = sizes, conditioning, shape
        self.dialect = dialect
        self.x_embedder = PatchEmbed(channels, sizes.patch, sizes.width)
        self.t_embedder = TimestepEmbedder(sizes.width, dialect)
        self.y_embedder = condition_embedder(conditioning, sizes.width)
        self.words = (
            CaptionTokens(conditioning.size, sizes.width) if sizes.cross_attention else None
        )
        self.modulation = Modulation(sizes.width, 6) if sizes.modulation == "single" else None
        positions = sincos_positions(height // sizes.patch, width // sizes.patch, sizes.width)
        self.register_buffer("pos_embed", positions)
        self.blocks = nn.ModuleList(
            Block(
                sizes.width,
                sizes.heads,
                dialect,
                sizes.modulation,
                cross_attention=sizes.cross_attention,
            )
            for _ in range(sizes.depth)
        )
        self.final_layer = FinalLayer(sizes.width, sizes.patch, channels)
        self.aligner: Aligner | None = None
        self.routing: Routing | None = None

    def forward(
        self, x_t: Tensor, t: Tensor, cond: Tensor | None, kept: Tensor | None = None
    ) -> Tensor:
        """See :class:`experts.flow.VelocityField`; in training, an aligner's word as well.

        Of the tokens, ``kept`` (B, n) says which do not pass by some blocks; None if all do not.
        """
        streams, shape = self.embed(x_t, t, cond), shape_of(x_t)
        if kept is not None:
            return routed(self, kept, *streams, shape=shape)
        if self.aligner is not None and self.training:
            return aligned(self, *streams, shape=shape)
        return self.finish(*self.advance(*streams), shape=shape)

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor, ...]:
        """What the first block is given.

        Returns:
            Tokens, (B, N, D); what each block is told of time and condition, (B, D), and with
            shared modulation what that makes of it besides, (B, D + 6 D); and for cross-attention
            the tokens of captions, (B, T, D).
        """
        positions = positions_of(x_t, self, sincos_positions, self.sizes.width)
        x = self.x_embedder(x_t) + positions
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            c = c + self.y_embedder(cond)
        if self.modulation is not None:
            c = torch.cat([c, self.modulation(c)], dim=1)
        return (x, c) if self.words is None else (x, c, self.words(cond))

    def advance(
        self, x: Tensor, c: Tensor, *words: Tensor, blocks: nn.ModuleList | None = None
    ) -> tuple[Tensor, ...]:
        """The same after some blocks, by default all that are here."""
        told = (c, *words, *map(heard_tokens, words))  # once for all blocks
        for block in self.blocks if blocks is None else blocks:
            x = block(x, *told)
        return x, c, *words

    def image_tokens(self, x: Tensor, *_: Tensor) -> Tensor:
        """Those of the image, which are all."""
        return x

    def finish(self, x: Tensor, c: Tensor, *_: Tensor, shape: Shape | None = None) -> Tensor:
        """The velocity, (B, C, H, W), of images of a shape, by default the network's own."""
        told = c[:, : self.sizes.width]
        return unpatchify(self.final_layer(x, told), shape or self.shape, self.sizes.patch)


def shape_of(x_t: Tensor) -> Shape:
    """That of each of some images, (B, C, H, W)."""
    _, channels, height, width = x_t.shape
    return channels, height, width


def build_dit(sizes: Sizes, conditioning: Conditioning, shape: Shape, seed: int) -> DiT:
    """A fresh network; equal seeds give equal weights, wherever it is moved afterwards.

    Args:
        sizes: how large.
        conditioning: what it is told besides image and time.
        shape: channels, height and width of the images.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        ConfigError: the patch does not divide the image.
    """
    refuse_patch(sizes.patch, *shape[1:])
    return fresh(lambda: DiT(sizes, conditioning, shape), seed)
