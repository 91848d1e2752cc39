"""The diffusion transformer that an expert is, unless it is an MMDiT.

State-dict keys and shapes are those of facebookresearch/DiT without its learned sigma.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748).
"""

from __future__ import annotations

from torch import Tensor, nn

from atoll.fit import refuse_patch
from atoll.sizes import Sizes
from experts.alignment import Aligner, aligned
from experts.blocks import Block, FinalLayer, fresh
from experts.condition import Conditioning
from experts.dialect import OURS, Dialect
from experts.embeddings import (
    PatchEmbed,
    TimestepEmbedder,
    condition_embedder,
    sincos_positions,
    unpatchify,
)

Shape = tuple[int, int, int]  # channels, height, width


class DiT(nn.Module):
    """A velocity field learned by a transformer on patches.

    Attributes:
        aligner: see :mod:`experts.alignment`; None without one.
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
        positions = sincos_positions(height // sizes.patch, width // sizes.patch, sizes.width)
        self.register_buffer("pos_embed", positions)
        self.blocks = nn.ModuleList(
            Block(sizes.width, sizes.heads, dialect) for _ in range(sizes.depth)
        )
        self.final_layer = FinalLayer(sizes.width, sizes.patch, channels)
        self.aligner: Aligner | None = None

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """See :class:`experts.flow.VelocityField`; in training, an aligner's word as well."""
        x, c = self.embed(x_t, t, cond)
        if self.aligner is not None and self.training:
            return aligned(self, x, c)
        return self.finish(*self.advance(x, c))

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens, (B, N, D), and what each block is told of time and condition, (B, D)."""
        x = self.x_embedder(x_t) + self.pos_embed
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            c = c + self.y_embedder(cond)
        return x, c

    def advance(
        self, x: Tensor, c: Tensor, blocks: nn.ModuleList | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same after some blocks, by default all that are here."""
        for block in self.blocks if blocks is None else blocks:
            x = block(x, c)
        return x, c

    def image_tokens(self, x: Tensor) -> Tensor:
        """Those of the image, which are all."""
        return x

    def finish(self, x: Tensor, c: Tensor) -> Tensor:
        """The velocity, (B, C, H, W)."""
        return unpatchify(self.final_layer(x, c), self.shape, self.sizes.patch)


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
