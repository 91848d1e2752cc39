"""Sequence parallelism: each process has some of an image's tokens.

In attention it has all tokens of some heads (Ulysses). Of a text that attends together with the
image it has some tokens, too. Of a video it has some frames, and where blocks look along time, some
places of all frames (DSP): no head is cut, and less is sent.

Source: Jacobs et al., DeepSpeed Ulysses (arXiv 2309.14509); Zhao et al., DSP: Dynamic Sequence
Parallelism for Multi-Dimensional Transformers (arXiv 2403.10266).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from experts.blocks import Attention
from experts.mmdit import MMDiT
from experts.mmdit_blocks import DoubleBlock, SingleBlock
from experts.parallel.collectives import exchange, gather
from experts.video import FRAMES, PLACES, SpaceTimeDiT

_HEADS, _TOKENS = 1, 2  # dimensions of queries, keys and values


def share_tokens(network: nn.Module, group: ProcessGroup) -> None:
    """Cut the tokens before the first block, and put what is painted on them together at the end.

    All weights' gradients come from a process's own tokens: they have to be added up. Those of a
    text are cut as evenly as can be: a process may have none.

    Args:
        network: with ``blocks`` that take tokens (B, N, D) first, and a ``final_layer`` that
            answers for each of the image's; changed in place.
        group: who shares an image; divides its tokens and the heads, or of a video its frames
            and their tokens.
    """
    num, index = group.size(), group.rank()
    ulysses = Ulysses(group)

    def own(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens, *rest = given
        num_image = len(network.pos_embed) if isinstance(network, MMDiT) else tokens.shape[1]
        kinds = tokens.tensor_split([tokens.shape[1] - num_image], 1)  # those of a text first
        parts = list(zip(*(kind.tensor_split(num, 1) for kind in kinds), strict=True))
        ulysses.lengths = [sum(each.shape[1] for each in part) for part in parts]
        return torch.cat(parts[index], 1), *rest

    def everybodys(_: nn.Module, __: object, painted: Tensor) -> Tensor:
        return gather(painted, 1, group)

    network.get_submodule("blocks.0").register_forward_pre_hook(own)
    network.get_submodule("final_layer").register_forward_hook(everybodys)
    if isinstance(network, SpaceTimeDiT):
        network.turned = _Turn(group)
        return
    if isinstance(network, MMDiT):
        num_own = len(network.pos_embed) // num
        network.own = slice(index * num_own, (index + 1) * num_own)
    for module in network.modules():
        if isinstance(module, Attention | DoubleBlock | SingleBlock):
            module.attend = ulysses


class Ulysses:
    """Attention over all tokens, of some of the heads on each process.

    Attributes:
        lengths: tokens of each process; None where all have as many.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.lengths: Sequence[int] | None = None
        self._group = group

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """From own tokens of all heads, (B, heads, own N, d) each, to the same."""
        # Normalised and turned they may be exact; attention would round them all the same.
        stacked = torch.stack((query.to(value.dtype), key.to(value.dtype), value))
        query, key, value = self._exchange(stacked, 1 + _HEADS, 1 + _TOKENS).unbind()
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self._exchange(mixed, _TOKENS, _HEADS)

    def _exchange(self, x: Tensor, cut: int, joined: int) -> Tensor:
        uneven = {x.dim() - 2: self.lengths} if self.lengths else None
        return exchange(x, cut, joined, self._group, uneven)


class _Turn:
    """From all places of own frames to all frames of own places, and back; (B, T, S, D)."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group

    def __call__(self, x: Tensor, over_time: bool) -> Tensor:
        """Exchange before a block that looks along the other dimension."""
        cut, joined = (PLACES, FRAMES) if over_time else (FRAMES, PLACES)
        return exchange(x, cut, joined, self._group)
