"""Blocks in which image and text attend together.

Tokens stand in one row, those of the text first. A double block has weights of its own for either
kind, which meet in attention alone; a single block has one set of weights for both.

Source: Esser et al., Scaling Rectified Flow Transformers (arXiv 2403.03206), section 4, for joint
attention and normalised queries and keys; FLUX.1 of Black Forest Labs for the arrangement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experts.blocks import Mlp, Modulation, modulate
from experts.rotary import rotate

_EPS = 1e-6

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class Heads(NamedTuple):
    """Queries, keys and values of some tokens, each (B, heads, N, d)."""

    query: Tensor
    key: Tensor
    value: Tensor

    def mixed(self, rotations: Tensor, attend: Attend) -> Tensor:
        """What attention gives each token, (B, N, D), its positions in place."""
        query, key = rotate(self.query, rotations), rotate(self.key, rotations)
        return attend(query, key, self.value).transpose(1, 2).flatten(2)


class Projections(nn.Module):
    """Into attention, with normalised queries and keys, and out of it again."""

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.head_dims = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.RMSNorm(self.head_dims, eps=_EPS)
        self.k_norm = nn.RMSNorm(self.head_dims, eps=_EPS)
        self.proj = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Heads:
        """What tokens (B, N, D) bring to attention."""
        parts = self.qkv(x).unflatten(2, (3, -1, self.head_dims))  # (B, N, 3, heads, d)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        exact = self.q_norm.weight.dtype  # under autocast too: torch norms no mixture quickly
        return Heads(self.q_norm(query.to(exact)), self.k_norm(key.to(exact)), value)


class Stream(nn.Module):
    """The half of a double block that works on one kind of token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=_EPS)
        self.attn = Projections(width, heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=_EPS)
        self.mlp = Mlp(width)
        self.adaLN_modulation = Modulation(width, 6)

    def into(self, x: Tensor, parts: tuple[Tensor, ...]) -> Heads:
        """What its tokens bring to attention."""
        heads: Heads = self.attn(modulate(self.norm1(x), parts[0], parts[1]))
        return heads

    def after(self, x: Tensor, mixed: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
        """Its tokens, (B, N, D), with what attention gave them, and the MLP."""
        _, _, gate_attn, shift_mlp, scale_mlp, gate_mlp = parts
        x = torch.addcmul(x, gate_attn, self.attn.proj(mixed))
        return torch.addcmul(x, gate_mlp, self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp)))


class DoubleBlock(nn.Module):
    """Two streams that attend together.

    Attributes:
        attend: as of :class:`experts.blocks.Attention`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend: Attend = F.scaled_dot_product_attention
        self.text, self.image = Stream(width, heads), Stream(width, heads)

    def forward(self, x: Tensor, c: Tensor, rotations: Tensor) -> Tensor:
        """One layer of the transformer.

        Args:
            x: tokens of the text, then of the image, (B, T + N, D).
            c: embedded time and condition of each image, (B, D).
            rotations: positions of the image's tokens, see :mod:`experts.rotary`.

        Returns:
            (B, T + N, D).
        """
        num_text = x.shape[1] - len(rotations)
        both = x.tensor_split([num_text], dim=1)
        streams = (self.text, self.image)
        parts = [each.adaLN_modulation(c).unsqueeze(1).chunk(6, dim=2) for each in streams]
        heads = [each.into(*of) for each, *of in zip(streams, both, parts, strict=True)]
        joined = Heads(*(torch.cat(pair, dim=2) for pair in zip(*heads, strict=True)))
        mixed = joined.mixed(rotations, self.attend).tensor_split([num_text], dim=1)
        after = [each.after(*of) for each, *of in zip(streams, both, mixed, parts, strict=True)]
        return torch.cat(after, dim=1)


class SingleBlock(nn.Module):
    """Attention and MLP side by side, on all tokens alike.

    Their outputs are added, so that one of the two has no bias.

    Attributes:
        attend: as of :class:`experts.blocks.Attention`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend: Attend = F.scaled_dot_product_attention
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=_EPS)
        self.attn = Projections(width, heads, bias=False)
        self.mlp = Mlp(width)
        self.adaLN_modulation = Modulation(width, 3)

    def forward(self, x: Tensor, c: Tensor, rotations: Tensor) -> Tensor:
        """One layer of the transformer; see :class:`DoubleBlock`."""
        shift, scale, gate = self.adaLN_modulation(c).unsqueeze(1).chunk(3, dim=2)
        seen = modulate(self.norm(x), shift, scale)
        heads: Heads = self.attn(seen)
        mixed = self.attn.proj(heads.mixed(rotations, self.attend))
        return torch.addcmul(x, gate, mixed + self.mlp(seen))
