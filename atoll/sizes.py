"""How large a network is, in sizes of its own or by a name from the paper.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748), table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

MLP_RATIO = 4  # features inside an MLP for each one of a token
TIME_DIMS = 256  # a cosine and a sine of each frequency of a time


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a DiT is.

    Attributes:
        width: features of a token.
        depth: blocks.
        heads: attention heads; divides width.
        patch: pixels along the side of a token.
    """

    width: int
    depth: int
    heads: int
    patch: int


_BODIES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}

PRESETS = {
    f"DiT-{name}/{patch}": Sizes(width, depth, heads, patch)
    for name, (width, depth, heads) in _BODIES.items()
    for patch in (2, 4, 8)
}


def refuse_heads(width: int, heads: int) -> None:
    """Refuse a width that cannot be shared among the attention heads.

    Raises:
        ValueError: says which sizes do not fit.
    """
    if width % heads:
        raise ValueError(f"heads = {heads} does not divide width = {width}")
    if width % 4:
        raise ValueError(f"width = {width} is not a multiple of 4 (sin-cos positions)")
