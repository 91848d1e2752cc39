"""What a network costs, in floating-point operations of its matrix products.

A multiply-add counts as two operations. The DiT paper counts it as one: its 118.6 "GFLOPs" of
DiT-XL/2 are 237 here.
"""

from __future__ import annotations

from atoll.sizes import Sizes
from experts.blocks import MLP_RATIO
from experts.condition import Conditioning
from experts.dit import Shape
from experts.embeddings import TIME_DIMS

TRAINING = 3  # a backward pass costs two forward passes


def dit_flops(sizes: Sizes, conditioning: Conditioning, shape: Shape) -> int:
    """Operations of one forward pass of a DiT on one image."""
    channels, height, width = shape
    num_tokens = (height // sizes.patch) * (width // sizes.patch)
    num_pixels = channels * sizes.patch**2
    final = linear_flops(1, sizes.width, 2 * sizes.width)
    final += linear_flops(num_tokens, sizes.width, num_pixels)
    return (
        linear_flops(num_tokens, num_pixels, sizes.width)
        + vector_flops(sizes.width, conditioning)
        + sizes.depth * block_flops(num_tokens, sizes.width)
        + final
    )


def block_flops(num_tokens: int, width: int) -> int:
    """Operations of one transformer block on the tokens of one image."""
    attention = 2 * 2 * num_tokens**2 * width
    weights = 3 * width**2 + width**2 + 2 * MLP_RATIO * width**2  # qkv, proj, mlp
    return 2 * num_tokens * weights + attention + linear_flops(1, width, 6 * width)


def vector_flops(width: int, conditioning: Conditioning) -> int:
    """Operations of embedding the time and the condition of one image."""
    text = linear_flops(1, conditioning.size, width) if conditioning.kind == "text" else 0
    return linear_flops(1, TIME_DIMS, width) + linear_flops(1, width, width) + text


def linear_flops(num_rows: int, num_inputs: int, num_outputs: int) -> int:
    """Operations of a linear layer."""
    return 2 * num_rows * num_inputs * num_outputs
