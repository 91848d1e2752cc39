"""What a plan has to know of a network, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from atoll.flops import Shape, num_tokens, router_flops
from atoll.mmdit import double_parameters, mmdit_parameters
from atoll.networks import expert_flops, expert_parameters
from atoll.parameters import block_parameters, linear_parameters, router_parameters
from atoll.sizes import MMDiTSizes, NetworkSizes, Sizes


class Told(NamedTuple):
    """A condition as :class:`atoll.flops.Condition` has it."""

    kind: Literal["none", "class", "text"]
    size: int


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
    frames: int = 1

    @property
    def image_tokens(self) -> int:
        """Tokens of one image, without those of its text."""
        return self.num_tokens - self.text_tokens

    def cut_block(self, num: int) -> float:
        """Parameters that each of so many GPUs has of the largest block, cut along ``tensor``."""
        return self.block_modulation + (self.block_parameters - self.block_modulation) / num


def expert(sizes: NetworkSizes, told: Told, shape: Shape, text_tokens: int = 1) -> Network:
    """An expert, or a monolith, as ``[expert]`` describes it.

    Args:
        sizes: how large.
        told: its condition.
        shape: channels, height and width of an image.
        text_tokens: of its caption, which an MMDiT has among its own.
    """
    parameters, tokens = expert_parameters(sizes, told, shape), num_tokens(sizes, shape)
    words, modulations = 0, 1
    if isinstance(sizes, MMDiTSizes):
        words, modulations = text_tokens, 2  # a double block has one for each kind
        block = double_parameters(sizes)
        outside = mmdit_parameters(replace(sizes, double=0, single=0), told, shape)
    else:
        block = block_parameters(sizes.width)
        outside = parameters - sizes.depth * block
    return Network(
        parameters=parameters,
        forward_flops=expert_flops(sizes, told, shape, text_tokens),
        num_tokens=tokens + words,
        width=sizes.width,
        heads=sizes.heads,
        num_blocks=sizes.depth,
        block_parameters=block,
        outside_parameters=outside,
        block_modulation=modulations * _modulation(sizes.width),
        text_tokens=words,
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
        block_modulation=_modulation(sizes.width),
    )


def _modulation(width: int) -> int:
    """Parameters of six vectors from one."""
    return linear_parameters(width, 6 * width)
