"""How many parameters an MMDiT has, and what it costs; counted as in the modules beside this one.

Source: Esser et al., Scaling Rectified Flow Transformers (arXiv 2403.03206), section 4; the sizes
Black Forest Labs published with FLUX.1 for the arrangement.
"""

from __future__ import annotations

from atoll.flops import Condition, Shape, attention_flops, linear_flops, num_tokens, num_words
from atoll.parameters import linear_parameters
from atoll.sizes import MLP_RATIO, TIME_DIMS, MMDiTSizes


def mmdit_parameters(sizes: MMDiTSizes, conditioning: Condition, shape: Shape) -> int:
    """Parameters of :class:`experts.mmdit.MMDiT`."""
    width, num_pixels = sizes.width, shape[0] * sizes.patch**2
    times = linear_parameters(TIME_DIMS, width) + linear_parameters(width, width)
    final = linear_parameters(width, 2 * width) + linear_parameters(width, num_pixels)
    return (
        linear_parameters(num_pixels, width)
        + times
        + _told_parameters(width, conditioning)
        + sizes.double * double_parameters(sizes)
        + sizes.single * _single_parameters(sizes)
        + final
    )


def mmdit_flops(sizes: MMDiTSizes, conditioning: Condition, shape: Shape) -> int:
    """Operations of one forward pass of an MMDiT on one image, and on all tokens of its text."""
    width, num_pixels = sizes.width, shape[0] * sizes.patch**2
    image_tokens, text_tokens = num_tokens(sizes, shape), num_words(conditioning)
    tokens = image_tokens + text_tokens
    # 12 width² weights on each token in either kind of block; modulation on the image alone.
    on_tokens = linear_flops(tokens, width, 4 * width + 2 * MLP_RATIO * width)
    on_tokens += attention_flops(tokens, width)
    modulation = linear_flops(1, width, (2 * 6 * sizes.double + 3 * sizes.single + 2) * width)
    told = linear_flops(1, TIME_DIMS + width, width)
    if conditioning.kind == "text":
        told += linear_flops(text_tokens, conditioning.size, width)
        told += linear_flops(1, conditioning.size + width, width)
    ends = 2 * linear_flops(image_tokens, num_pixels, width)
    return sizes.depth * on_tokens + modulation + told + ends


def double_parameters(sizes: MMDiTSizes) -> int:
    """Parameters of a double block, the largest kind."""
    width, wide = sizes.width, MLP_RATIO * sizes.width
    stream = (
        linear_parameters(width, 6 * width)
        + linear_parameters(width, 3 * width)
        + linear_parameters(width, width)
        + linear_parameters(width, wide)
        + linear_parameters(wide, width)
        + _norm_parameters(sizes)
    )
    return 2 * stream


def _single_parameters(sizes: MMDiTSizes) -> int:
    width, wide = sizes.width, MLP_RATIO * sizes.width
    return (
        linear_parameters(width, 3 * width)
        + linear_parameters(width, 3 * width + wide)
        + linear_parameters(width + wide, width)
        + _norm_parameters(sizes)
    )


def _norm_parameters(sizes: MMDiTSizes) -> int:
    """Of queries and of keys, shared by the heads."""
    return 2 * (sizes.width // sizes.heads)


def _told_parameters(width: int, conditioning: Condition) -> int:
    if conditioning.kind == "class":
        return (conditioning.size + 1) * width
    if conditioning.kind == "text":
        pooled = linear_parameters(conditioning.size, width) + linear_parameters(width, width)
        return linear_parameters(conditioning.size, width) + pooled
    return width  # one learned token
