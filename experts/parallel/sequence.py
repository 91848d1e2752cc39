"""Sequence parallelism: each process has some of an image's tokens.

In attention it has all tokens of some heads (Ulysses). Of a video it has some frames, and where
blocks look along time, some places of all frames (DSP): no head is cut, and less is sent.

Source: Jacobs et al., DeepSpeed Ulysses (arXiv 2309.14509); Zhao et al., DSP: Dynamic Sequence
Parallelism for Multi-Dimensional Transformers (arXiv 2403.10266).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from experts.blocks import Attention
from experts.parallel.collectives import exchange, gather
from experts.video import FRAMES, PLACES, SpaceTimeDiT

_HEADS, _TOKENS = 1, 2  # dimensions of queries, keys and values


def share_tokens(network: nn.Module, group: ProcessGroup) -> None:
    """Cut the tokens before the first block, and put what is painted on them together at the end.

    All weights' gradients come from a process's own tokens: they have to be added up.

    Args:
        network: with ``blocks`` that take tokens (B, N, D) first, and a ``final_layer`` that
            answers for each of them; changed in place.
        group: who shares an image; divides its tokens and the heads, or of a video its frames
            and their tokens.
    """
    num, index = group.size(), group.rank()

    def own(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens, *rest = given
        return tokens.tensor_split(num, 1)[index], *rest

    def everybodys(_: nn.Module, __: object, painted: Tensor) -> Tensor:
        return gather(painted, 1, group)

    network.get_submodule("blocks.0").register_forward_pre_hook(own)
    network.get_submodule("final_layer").register_forward_hook(everybodys)
    if isinstance(network, SpaceTimeDiT):
        network.turned = _Turn(group)
        return
    for module in network.modules():
        if isinstance(module, Attention):
            module.attend = Ulysses(group)


class Ulysses:
    """Attention over all tokens, of some of the heads on each process."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """From own tokens of all heads, (B, heads, N / processes, d) each, to the same."""
        stacked = torch.stack((query, key, value))
        query, key, value = exchange(stacked, 1 + _HEADS, 1 + _TOKENS, self._group).unbind()
        mixed = F.scaled_dot_product_attention(query, key, value)
        return exchange(mixed, _TOKENS, _HEADS, self._group)


class _Turn:
    """From all places of own frames to all frames of own places, and back; (B, T, S, D)."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group

    def __call__(self, x: Tensor, over_time: bool) -> Tensor:
        """Exchange before a block that looks along the other dimension."""
        cut, joined = (PLACES, FRAMES) if over_time else (FRAMES, PLACES)
        return exchange(x, cut, joined, self._group)
