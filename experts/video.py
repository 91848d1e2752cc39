"""A DiT for short videos: its blocks look over space and over time in turn.

Source: Ma et al., Latte: Latent Diffusion Transformer for Video Generation (arXiv 2401.03048),
section 3.1, variant 1.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from atoll.sizes import Sizes
from experts.blocks import Block
from experts.condition import Conditioning
from experts.cross_attention import heard_tokens
from experts.dialect import OURS, Dialect
from experts.dit import DiT, Shape
from experts.embeddings import sincos_line, sincos_positions

FRAMES, PLACES = 1, 2  # dimensions of (B, T, S, D)


class SpaceTimeDiT(DiT):
    """A velocity field on videos, whose frames stand one below the other in an image.

    In every other block, from the second, a place of one frame looks at the same place of the
    others; in the rest, at the places of its own frame. It takes videos of its own shape alone.

    Attributes:
        turned: is given tokens, (B, T, S, D), before a block that looks along another dimension
            than the one before, and whether that is time.
    """

    def __init__(
        self, sizes: Sizes, conditioning: Conditioning, shape: Shape, dialect: Dialect = OURS
    ) -> None:
        super().__init__(sizes, conditioning, shape, dialect)
        _, height, width = shape
        rows, columns = height // sizes.frames // sizes.patch, width // sizes.patch
        self.turned: Callable[[Tensor, bool], Tensor] = lambda x, _: x
        space = sincos_positions(rows, columns, sizes.width)  # (1, S, D)
        time = sincos_line(sizes.frames, sizes.width).unsqueeze(1)  # (T, 1, D)
        self.pos_embed = (space + time).flatten(0, 1).unsqueeze(0)
        self._places = rows * columns
        for block in self._own_blocks()[1::2]:
            block.over_time = True

    def advance(
        self, x: Tensor, c: Tensor, *words: Tensor, blocks: nn.ModuleList | None = None
    ) -> tuple[Tensor, ...]:
        """See :class:`experts.dit.DiT`; through all blocks, since they turn as they alternate."""
        assert blocks is None
        x = x.reshape(len(x), -1, self._places, x.shape[-1])  # (B, T, S, D)
        told, over_time = (c, *words, *map(heard_tokens, words)), False
        for block in self._own_blocks():
            if block.over_time is not over_time:
                over_time = block.over_time
                x = self.turned(x, over_time)
            x = _along_time(block, x, *told) if over_time else block(x, *told)
        if over_time:
            x = self.turned(x, False)
        return x.flatten(FRAMES, PLACES), c, *words

    def _own_blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


def _along_time(block: Callable[..., Tensor], x: Tensor, *told: Tensor) -> Tensor:
    return block(x.transpose(FRAMES, PLACES), *told).transpose(FRAMES, PLACES)
