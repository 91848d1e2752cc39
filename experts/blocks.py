"""The transformer block with adaLN-zero, its options, and how its weights begin.

Names and shapes are those of facebookresearch/DiT, so that weights exchange without renaming.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748), section 3.2;
Chen et al., PixArt-alpha (arXiv 2310.00426), section 2.3, for cross-attention and adaLN-single.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atoll.sizes import MLP_RATIO, Modulated
from experts.cross_attention import CrossAttention
from experts.dialect import OURS, Dialect
from experts.embeddings import LabelEmbedder, PatchEmbed, TextEmbedder, TimestepEmbedder

_EPS = 1e-6

Network = TypeVar("Network", bound=nn.Module)


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of an image.

    Attributes:
        heads: in this process.
        attend: from queries, keys and values, (B, heads, N, D / heads) each, to the values' mean.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self._head_width = heads, width // heads
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = F.scaled_dot_product_attention
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Let every token look at every other of its group, (B, ..., N, D)."""
        *groups, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(-1, tokens, 3, self.heads, self._head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, D / heads)
        mixed = self.attend(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(*groups, tokens, -1))
        return out


class Mlp(nn.Module):
    """Two layers on each token alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token, (B, N, D)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class Modulation(nn.Sequential):
    """From an image's conditioning vector to vectors that shift, scale and gate its tokens.

    Args:
        width: features of a token, and of the conditioning vector.
        num: how many vectors.
    """

    def __init__(self, width: int, num: int) -> None:
        super().__init__(nn.SiLU(), nn.Linear(width, num * width))


class Offset(nn.Module):
    """A block's own part of a modulation that all blocks share (adaLN-single).

    Args:
        width: features of a token.
        num: how many vectors.
    """

    def __init__(self, width: int, num: int) -> None:
        super().__init__()
        self.width = width
        self.offset = nn.Parameter(torch.zeros(num * width))

    def forward(self, c: Tensor) -> Tensor:
        """The vectors of each image, out of what :class:`experts.dit.DiT` tells its blocks."""
        return c[:, self.width :] + self.offset


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the image's conditioning vector.

    Between them its tokens may look at the caption's.

    Args:
        width: features of a token.
        heads: of attention; divides width.
        dialect: see :mod:`experts.dialect`.
        modulation: see :class:`atoll.sizes.Sizes`.
        cross_attention: whether there is one.

    Attributes:
        over_time: whether it looks along the frames of a video, see :mod:`experts.video`.
    """

    over_time = False

    def __init__(
        self,
        width: int,
        heads: int,
        dialect: Dialect = OURS,
        modulation: Modulated = "block",
        *,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=dialect.mlp_eps)
        self.mlp = Mlp(width)
        self.cross_attn = CrossAttention(width, heads) if cross_attention else None
        self.adaLN_modulation = Modulation(width, 6) if modulation == "block" else Offset(width, 6)

    def forward(
        self, x: Tensor, c: Tensor, words: Tensor | None = None, heard: Tensor | None = None
    ) -> Tensor:
        """One layer of the transformer.

        Args:
            x: tokens, (B, N, D); or in groups that do not look at each other, (B, G, N, D).
            c: embedded time and condition of each image, (B, D); with shared modulation, what that
                makes of it besides, (B, D + 6 D).
            words: tokens of captions, (B, T, D), for cross-attention.
            heard: which of them count, (B, T) bool.

        Returns:
            Of the shape of x.
        """
        told = self.adaLN_modulation(c).reshape(len(c), *[1] * (x.dim() - 2), -1)
        parts = told.chunk(6, dim=-1)
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = parts
        x = torch.addcmul(x, gate_attn, self.attn(modulate(self.norm1(x), shift_attn, scale_attn)))
        if self.cross_attn is not None:
            x = x + self.cross_attn(x, words, heard)
        return torch.addcmul(x, gate_mlp, self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp)))


class FinalLayer(nn.Module):
    """From tokens back to pixels."""

    def __init__(self, width: int, patch: int, channels: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=_EPS)
        self.linear = nn.Linear(width, patch * patch * channels)
        self.adaLN_modulation = Modulation(width, 2)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """The pixels of each patch, (B, N, patch * patch * C), from (B, N, D) and (B, D)."""
        shift, scale = self.adaLN_modulation(c).unsqueeze(1).chunk(2, dim=2)
        out: Tensor = self.linear(modulate(self.norm_final(x), shift, scale))
        return out


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Shift and scale the features of tokens: ``x (1 + scale) + shift``."""
    return torch.addcmul(shift, x, 1 + scale)


def fresh(make: Callable[[], Network], seed: int) -> Network:
    """A network with its first weights, which follow from the seed alone.

    Args:
        make: the network, with any weights.
        seed: of the weights; the global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = make()
        initialise(network)
    return network


def initialise(network: nn.Module) -> None:
    """Begin as DiT does: Xavier for every projection, small embeddings, every block an identity."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, PatchEmbed):
            nn.init.xavier_uniform_(module.proj.weight.flatten(1))
            assert module.proj.bias is not None
            nn.init.zeros_(module.proj.bias)
        elif isinstance(module, LabelEmbedder):
            nn.init.normal_(module.embedding_table.weight, std=0.02)
        elif isinstance(module, TextEmbedder):
            nn.init.normal_(module.proj.weight, std=0.02)
        elif isinstance(module, TimestepEmbedder):
            for layer in (module.mlp[0], module.mlp[2]):
                assert isinstance(layer, nn.Linear)
                nn.init.normal_(layer.weight, std=0.02)
        elif isinstance(module, Modulation):
            _zero(module[1])
        elif isinstance(module, CrossAttention):
            _zero(module.proj)
        elif isinstance(module, FinalLayer):
            _zero(module.linear)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
