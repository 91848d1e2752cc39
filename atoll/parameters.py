"""How many parameters a network has; positions are fixed and do not count."""

from __future__ import annotations

from atoll.flops import Condition, Shape
from atoll.sizes import MLP_RATIO, TIME_DIMS, Sizes


def dit_parameters(sizes: Sizes, conditioning: Condition, shape: Shape) -> int:
    """Parameters of :class:`experts.dit.DiT`."""
    width, num_pixels = sizes.width, shape[0] * sizes.patch**2
    shared = modulation_parameters(width) if sizes.modulation == "single" else 0
    captions = linear_parameters(conditioning.size, width) + linear_parameters(width, width)
    return (
        _ends(sizes, conditioning, shape)
        + shared
        + (captions if sizes.cross_attention else 0)
        + sizes.depth * dit_block_parameters(sizes)
        + linear_parameters(width, 2 * width)
        + linear_parameters(width, num_pixels)
    )


def router_parameters(sizes: Sizes, conditioning: Condition, shape: Shape, num_experts: int) -> int:
    """Parameters of :class:`router.network.RouterNet`: with a learned token, and a norm's two."""
    return (
        _ends(sizes, conditioning, shape)
        + sizes.depth * block_parameters(sizes.width)
        + 3 * sizes.width
        + linear_parameters(sizes.width, num_experts)
    )


def dit_block_parameters(sizes: Sizes) -> int:
    """Parameters of one block of a DiT, as its options have it."""
    width, found = sizes.width, block_parameters(sizes.width)
    if sizes.modulation == "single":
        found += 6 * width - modulation_parameters(width)  # offsets alone
    if sizes.cross_attention:
        found += 2 * linear_parameters(width, width) + linear_parameters(width, 2 * width)
    return found


def block_parameters(width: int) -> int:
    """Parameters of one transformer block with adaLN."""
    return (
        linear_parameters(width, 3 * width)
        + linear_parameters(width, width)
        + linear_parameters(width, MLP_RATIO * width)
        + linear_parameters(MLP_RATIO * width, width)
        + modulation_parameters(width)
    )


def modulation_parameters(width: int) -> int:
    """Parameters of six vectors from one."""
    return linear_parameters(width, 6 * width)


def linear_parameters(num_inputs: int, num_outputs: int) -> int:
    """Weights and biases of a linear layer."""
    return (num_inputs + 1) * num_outputs


def _ends(sizes: Sizes, conditioning: Condition, shape: Shape) -> int:
    width = sizes.width
    patches = linear_parameters(shape[0] * sizes.patch**2, width)
    time = linear_parameters(TIME_DIMS, width) + linear_parameters(width, width)
    if conditioning.kind == "class":
        return patches + time + (conditioning.size + 1) * width  # one row more: no class
    if conditioning.kind == "text":
        return patches + time + linear_parameters(conditioning.size, width)
    return patches + time
