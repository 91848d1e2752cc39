"""Transformers in which image and text attend together, as FLUX.1 arranges them.

A double block has weights of its own for image and for text, which meet in attention alone; a
single block has one set of weights for both, with attention and MLP side by side.

Source: Esser et al., Scaling Rectified Flow Transformers (arXiv 2403.03206), section 4, for joint
attention; the sizes Black Forest Labs published with FLUX.1 for the arrangement.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.flops import attention_flops, linear_flops
from atoll.parameters import linear_parameters
from atoll.sizes import MLP_RATIO, TIME_DIMS
from orchestrator.planning.networks import Network


@dataclass(frozen=True, slots=True)
class MMDiT:
    """How large one is, and what it sees.

    Attributes:
        width: features of a token.
        heads: attention heads; divides width.
        num_double: double blocks.
        num_single: single blocks, after those.
        num_pixels: numbers in a patch: channels times its area.
        image_tokens: patches of an image.
        text_tokens: tokens of its caption.
        text_dims: features of a caption's token as the encoder gives it.
        pooled_dims: features of a caption as a whole.
        num_times: vectors embedded as a time is: 1, or 2 with a distilled guidance.
    """

    width: int
    heads: int
    num_double: int
    num_single: int
    num_pixels: int
    image_tokens: int
    text_tokens: int
    text_dims: int = 4096
    pooled_dims: int = 768
    num_times: int = 1

    @property
    def network(self) -> Network:
        """In the numbers of a plan."""
        return Network(
            parameters=self._outside_parameters
            + 2 * self.num_double * self._stream_parameters
            + self.num_single * self._single_parameters,
            forward_flops=self._forward_flops,
            num_tokens=self.image_tokens + self.text_tokens,
            width=self.width,
            heads=self.heads,
            num_blocks=self.num_double + self.num_single,
            block_parameters=2 * self._stream_parameters,
            outside_parameters=self._outside_parameters,
        )

    @property
    def _stream_parameters(self) -> int:
        """One of the two streams of a double block: modulation, attention, MLP, norms."""
        wide = MLP_RATIO * self.width
        return (
            linear_parameters(self.width, 6 * self.width)
            + linear_parameters(self.width, 3 * self.width)
            + linear_parameters(self.width, self.width)
            + linear_parameters(self.width, wide)
            + linear_parameters(wide, self.width)
            + 2 * self.width // self.heads  # norms of queries and keys, shared by the heads
        )

    @property
    def _single_parameters(self) -> int:
        wide = MLP_RATIO * self.width
        return (
            linear_parameters(self.width, 3 * self.width)
            + linear_parameters(self.width, 3 * self.width + wide)
            + linear_parameters(self.width + wide, self.width)
            + 2 * self.width // self.heads
        )

    @property
    def _outside_parameters(self) -> int:
        width = self.width
        times = linear_parameters(TIME_DIMS, width) + linear_parameters(width, width)
        pooled = linear_parameters(self.pooled_dims, width) + linear_parameters(width, width)
        ends = linear_parameters(self.num_pixels, width) + linear_parameters(self.text_dims, width)
        final = linear_parameters(width, 2 * width) + linear_parameters(width, self.num_pixels)
        return self.num_times * times + pooled + ends + final

    @property
    def _forward_flops(self) -> int:
        width, tokens = self.width, self.image_tokens + self.text_tokens
        # 12 width² weights on each token in either kind of block; modulation on the image alone.
        on_tokens = linear_flops(tokens, width, 4 * width + 2 * MLP_RATIO * width)
        on_tokens += attention_flops(tokens, width)
        modulation = linear_flops(1, width, (2 * 6 * self.num_double + 3 * self.num_single) * width)
        vector = self.num_times * linear_flops(1, TIME_DIMS + width, width)
        vector += linear_flops(1, self.pooled_dims + width, width)
        ends = 2 * linear_flops(self.image_tokens, self.num_pixels, width)
        ends += linear_flops(self.text_tokens, self.text_dims, width)
        final = linear_flops(1, width, 2 * width)
        blocks = self.num_double + self.num_single
        return blocks * on_tokens + modulation + vector + ends + final
