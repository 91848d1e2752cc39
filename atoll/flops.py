"""What a network costs, in floating-point operations of its matrix products.

A multiply-add counts as two operations. The DiT paper counts it as one: its 118.6 "GFLOPs" of
DiT-XL/2 are 237 here.
"""

from __future__ import annotations

from typing import Literal, Protocol

from atoll.sizes import MLP_RATIO, TIME_DIMS, NetworkSizes, Sizes

TRAINING = 3  # a backward pass costs two forward passes

Shape = tuple[int, int, int]  # channels, height, width


class Condition(Protocol):
    """What a network is told besides image and time, as ``experts.condition`` has it.

    Attributes:
        kind: none, class or text.
        size: number of classes, or length of an embedding.
        tokens: of a caption, at most; 0 for one embedding of the whole.
    """

    @property
    def kind(self) -> Literal["none", "class", "text"]:
        """None, class or text."""
        ...

    @property
    def size(self) -> int:
        """Number of classes, or length of an embedding."""
        ...

    @property
    def tokens(self) -> int:
        """Of a caption, at most; 0 for one embedding of the whole."""
        ...


def num_words(conditioning: Condition) -> int:
    """Embeddings of one caption, with those of padding."""
    return max(1, conditioning.tokens)


def num_tokens(sizes: NetworkSizes, shape: Shape) -> int:
    """Patches of one image."""
    return (shape[1] // sizes.patch) * (shape[2] // sizes.patch)


def dit_flops(sizes: Sizes, conditioning: Condition, shape: Shape) -> int:
    """Operations of one forward pass of a DiT on one image."""
    tokens, num_pixels = num_tokens(sizes, shape), shape[0] * sizes.patch**2
    final = linear_flops(1, sizes.width, 2 * sizes.width)
    final += linear_flops(tokens, sizes.width, num_pixels)
    return (
        linear_flops(tokens, num_pixels, sizes.width)
        + vector_flops(sizes.width, conditioning)
        + sizes.depth * _tokens_flops(tokens, sizes.width)
        + (sizes.depth if sizes.modulation == "block" else 1) * _modulation_flops(sizes.width)
        + _dit_attention(sizes, tokens)
        + (_cross_flops(sizes, conditioning, tokens) if sizes.cross_attention else 0)
        + final
    )


def _dit_attention(sizes: Sizes, tokens: int) -> int:
    """Operations of all attention, among a frame's tokens and among a place's frames."""
    frame = tokens // sizes.frames
    over_space = sizes.frames * attention_flops(frame, sizes.width)
    over_time = frame * attention_flops(sizes.frames, sizes.width)
    return (sizes.depth - sizes.over_time) * over_space + sizes.over_time * over_time


def router_flops(sizes: Sizes, conditioning: Condition, shape: Shape, num_experts: int) -> int:
    """Operations of one forward pass of a router on one image, counted as an expert's are."""
    tokens = num_tokens(sizes, shape)
    return (
        linear_flops(tokens, shape[0] * sizes.patch**2, sizes.width)
        + vector_flops(sizes.width, conditioning)
        + sizes.depth * block_flops(tokens + 1, sizes.width)
        + linear_flops(1, sizes.width, num_experts)
    )


def block_flops(num_tokens: int, width: int) -> int:
    """Operations of one transformer block on the tokens of one image."""
    own = _tokens_flops(num_tokens, width) + _modulation_flops(width)
    return own + attention_flops(num_tokens, width)


def _tokens_flops(num_tokens: int, width: int) -> int:
    weights = 3 * width**2 + width**2 + 2 * MLP_RATIO * width**2  # qkv, proj, mlp
    return 2 * num_tokens * weights


def _modulation_flops(width: int) -> int:
    return linear_flops(1, width, 6 * width)


def _cross_flops(sizes: Sizes, conditioning: Condition, tokens: int) -> int:
    """Operations of embedding a caption's tokens, and of all blocks that look at them."""
    words, width = num_words(conditioning), sizes.width
    embedder = linear_flops(words, conditioning.size, width) + linear_flops(words, width, width)
    block = linear_flops(tokens, width, 2 * width)  # queries, and the projection at the end
    block += linear_flops(words, width, 2 * width)  # keys and values
    block += 2 * 2 * tokens * words * width  # scores, and the mean by them
    return embedder + sizes.depth * block


def attention_flops(num_tokens: int, width: int) -> int:
    """Operations of every token looking at every other: scores, and the mean by them."""
    return 2 * 2 * num_tokens**2 * width


def vector_flops(width: int, conditioning: Condition) -> int:
    """Operations of embedding the time and the condition of one image."""
    text = linear_flops(1, conditioning.size, width) if conditioning.kind == "text" else 0
    return linear_flops(1, TIME_DIMS, width) + linear_flops(1, width, width) + text


def linear_flops(num_rows: int, num_inputs: int, num_outputs: int) -> int:
    """Operations of a linear layer."""
    return 2 * num_rows * num_inputs * num_outputs
