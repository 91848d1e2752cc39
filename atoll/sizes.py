"""How large a network is, in sizes of its own or by a name.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748), table 1;
McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450), for the 3B; Chen et al.,
PixArt-alpha (arXiv 2310.00426), section 2.3, for cross-attention and shared modulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

MLP_RATIO = 4  # features inside an MLP for each one of a token
TIME_DIMS = 256  # a cosine and a sine of each frequency of a time

Modulated = Literal["block", "single"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a DiT is.

    Attributes:
        width: features of a token.
        depth: blocks.
        heads: attention heads; divides width.
        patch: pixels along the side of a token.
        frames: of a video, one below the other in each image; 1 for images.
        cross_attention: whether the image's tokens look at the caption's in every block.
        modulation: ``block`` for a layer of each block's own from time and condition to what shifts
            and scales its tokens, ``single`` for one that all blocks share, with offsets.
    """

    width: int
    depth: int
    heads: int
    patch: int
    frames: int = 1
    cross_attention: bool = False
    modulation: Modulated = "block"

    @property
    def over_time(self) -> int:
        """Blocks in which a place of one frame looks at the same place of the others."""
        return self.depth // 2 if self.frames > 1 else 0


@dataclass(frozen=True, slots=True)
class MMDiTSizes:
    """How large an MMDiT is.

    Attributes:
        width: features of a token.
        double: blocks with weights of their own for image and text.
        single: blocks with one set of weights for both, after those.
        heads: attention heads; divides width by a multiple of 4.
        patch: pixels along the side of a token.
    """

    width: int
    double: int
    single: int
    heads: int
    patch: int

    @property
    def depth(self) -> int:
        """Blocks of both kinds."""
        return self.double + self.single


NetworkSizes = Sizes | MMDiTSizes

_BODIES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}

DITS = {
    f"DiT-{name}/{patch}": Sizes(width, depth, heads, patch)
    for name, (width, depth, heads) in _BODIES.items()
    for patch in (2, 4, 8)
}

# The 3B is FLUX.1 (width 3072, 19 double and 38 single blocks, 11.9B) made smaller evenly: depth
# and width each by the cube root of 3 / 11.9 = 0.63. Its 15 heads of 128 are 16 of 120, so that 2,
# 4, 8 and 16 GPUs can share them. The others keep one double block to two single ones: one for a
# laptop's tests, one beside DiT-B.
MMDITS = {
    "MMDiT-T": MMDiTSizes(width=64, double=1, single=2, heads=4, patch=2),
    "MMDiT-B": MMDiTSizes(width=768, double=4, single=8, heads=12, patch=2),
    "MMDiT-3B": MMDiTSizes(width=1920, double=12, single=24, heads=16, patch=2),
}

PRESETS: dict[str, NetworkSizes] = {**DITS, **MMDITS}


def in_words(sizes: NetworkSizes) -> str:
    """Sizes for people, e.g. ``DiT of width 64, depth 3, heads 4, patch 2``."""
    kind = "MMDiT" if isinstance(sizes, MMDiTSizes) else "DiT"
    usual = {field.name: field.default for field in fields(sizes)}
    told = {name: size for name, size in asdict(sizes).items() if size != usual[name]}
    words = (
        name.replace("_", "-") if size is True else f"{name} {size}" for name, size in told.items()
    )
    return f"{kind} of {', '.join(words)}"


def sizes_from(told: Mapping[str, Any]) -> NetworkSizes:
    """The sizes that a checkpoint tells of; their names say of which kind of network."""
    return MMDiTSizes(**told) if "double" in told else Sizes(**told)


def refuse_heads(width: int, heads: int) -> None:
    """Refuse a width that cannot be shared among the attention heads.

    Raises:
        ValueError: says which sizes do not fit.
    """
    if width % heads:
        raise ValueError(f"heads = {heads} does not divide width = {width}")
    if width % 4:
        raise ValueError(f"width = {width} is not a multiple of 4 (sin-cos positions)")
