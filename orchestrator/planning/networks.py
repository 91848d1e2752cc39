"""What a plan has to know of a network, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from atoll.flops import Shape, num_tokens, num_words, router_flops
from atoll.mmdit import double_parameters, mmdit_parameters
from atoll.networks import expert_flops, expert_parameters
from atoll.parameters import (
    block_parameters,
    dit_block_parameters,
    modulation_parameters,
    router_parameters,
)
from atoll.sizes import MMDiTSizes, NetworkSizes, Sizes


class Told(NamedTuple):
    """A condition as :class:`atoll.flops.Condition` has it."""

    kind: Literal["none", "class", "text"]
    size: int
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Network:
    """A transformer, in the numbers that memory and time follow from.

    Attributes:
        parameters: all of them.
        forward_flops: operations of one forward pass on one image.
        num_tokens: of one image, with those of its text where both attend together.
        width: features of a token.
        heads: attention heads.
        num_blocks: transformer blocks each token passes.
        block_parameters: of the largest block.
        outside_parameters: of what comes before and after the blocks.
        block_modulation: parameters of the largest block that no layout cuts along ``tensor``.
        text_tokens: of those of one image, its text's.
        words: tokens of a text that every block looks at by cross-attention; 0 without it.
        frames: of a video; 1 for images.
    """

    parameters: int
    forward_flops: int
    num_tokens: int
    width: int
    heads: int
    num_blocks: int
    block_parameters: int
    outside_parameters: int
    block_modulation: int = 0
    text_tokens: int = 0
    words: int = 0
    frames: int = 1

    @property
    def image_tokens(self) -> int:
        """Tokens of one image, without those of its text."""
        return self.num_tokens - self.text_tokens

    def cut_block(self, num: int) -> float:
        """Parameters that each of so many GPUs has of the largest block, cut along ``tensor``."""
        return self.block_modulation + (self.block_parameters - self.block_modulation) / num


def expert(sizes: NetworkSizes, told: Told, shape: Shape) -> Network:
    """An expert, or a monolith, as ``[expert]`` describes it.

    Args:
        sizes: how large.
        told: its condition; an MMDiT has a caption's tokens among its own.
        shape: channels, height and width of an image.
    """
    parameters, tokens = expert_parameters(sizes, told, shape), num_tokens(sizes, shape)
    joined, words, modulation = 0, 0, modulation_parameters(sizes.width)
    if isinstance(sizes, MMDiTSizes):
        joined, modulation = num_words(told), 2 * modulation  # a double block has one of each kind
        block = double_parameters(sizes)
        outside = mmdit_parameters(replace(sizes, double=0, single=0), told, shape)
    else:
        block = dit_block_parameters(sizes)
        outside = parameters - sizes.depth * block
        if sizes.modulation == "single":
            modulation = 6 * sizes.width
        if sizes.cross_attention:
            words = num_words(told)
    return Network(
        parameters=parameters,
        forward_flops=expert_flops(sizes, told, shape),
        num_tokens=tokens + joined,
        width=sizes.width,
        heads=sizes.heads,
        num_blocks=sizes.depth,
        block_parameters=block,
        outside_parameters=outside,
        block_modulation=modulation,
        text_tokens=joined,
        words=words,
        frames=sizes.frames if isinstance(sizes, Sizes) else 1,
    )


def router(sizes: Sizes, told: Told, shape: Shape, num_experts: int) -> Network:
    """A router as ``[router]`` describes it: a DiT with one token more."""
    parameters = router_parameters(sizes, told, shape, num_experts)
    block = block_parameters(sizes.width)
    return Network(
        parameters=parameters,
        forward_flops=router_flops(sizes, told, shape, num_experts),
        num_tokens=num_tokens(sizes, shape) + 1,
        width=sizes.width,
        heads=sizes.heads,
        num_blocks=sizes.depth,
        block_parameters=block,
        outside_parameters=parameters - sizes.depth * block,
        block_modulation=modulation_parameters(sizes.width),
    )
