"""Displaced attention: a process has its own tokens as they are, and the others' as they were.

Between neighbouring steps of a path the keys and values of attention change little. So a process
need not wait for those of the other processes' tokens: it takes the ones of the evaluation before,
while the present ones are on their way. Images are not quite the same: what this costs is measured.

Source: Li et al., DistriFusion (arXiv 2402.19481), section 3; Wang et al., PipeFusion
(arXiv 2405.14430), for transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from experts.blocks import Attention

_TOKENS = 3  # dimension of keys and values, (2, B, heads, N, d)


@dataclass(slots=True)
class _Coming:
    """Keys and values of all processes, on their way."""

    parts: list[Tensor]
    work: distributed.Work

    def whole(self) -> Tensor:
        self.work.wait()
        return torch.cat(self.parts, _TOKENS)


class Displaced:
    """Of one attention layer of a network.

    All processes are told of the same rows in the same order, and so decide alike.
    """

    def __init__(self, group: ProcessGroup) -> None:
        """Nothing is kept.

        Args:
            group: who shares an image, equal parts of its tokens.
        """
        self._group = group
        self._rows: Sequence[int] | None = None
        self._before: dict[int, Tensor] = {}  # by row, (2, heads, N, d)
        self._coming: tuple[Sequence[int], _Coming] | None = None

    def expect(self, rows: Sequence[int] | None, gone: Iterable[int] = ()) -> None:
        """Say what comes next.

        Args:
            rows: numbers by which the rows of the next batch come again; None if they do not.
            gone: numbers that come no more.
        """
        if self._coming is not None:
            before, coming = self._coming
            self._keep(before, coming.whole())
            self._coming = None
        for row in gone:
            self._before.pop(row, None)
        self._rows = rows

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """From own tokens of all heads, (B, heads, own N, d) each, to the same."""
        own, rows = torch.stack((key.to(value.dtype), value)), self._rows
        if rows is not None and all(row in self._before for row in rows):
            whole = torch.stack([self._before[row] for row in rows], 1)
            index, num = self._group.rank(), own.shape[_TOKENS]
            whole[:, :, :, index * num : (index + 1) * num] = own
            self._coming = rows, self._sent(own)
        else:
            whole = self._sent(own).whole()
            self._keep(rows or (), whole)
        keys, values = whole.unbind()
        return F.scaled_dot_product_attention(query.to(value.dtype), keys, values)

    def _sent(self, own: Tensor) -> _Coming:
        parts = [torch.empty_like(own) for _ in range(self._group.size())]
        work = distributed.all_gather(parts, own.contiguous(), group=self._group, async_op=True)
        assert work is not None
        return _Coming(parts, work)

    def _keep(self, rows: Sequence[int], whole: Tensor) -> None:
        for place, row in enumerate(rows):
            self._before[row] = whole[:, place]


def displace(network: nn.Module, group: ProcessGroup) -> list[Displaced]:
    """Have a network whose tokens are shared attend to those of others as they were.

    Args:
        network: see :func:`experts.parallel.sequence.share_tokens`, which was called; changed in
            place.
        group: as there.

    Returns:
        Its layers, to be told what comes.
    """
    layers = []
    for module in network.modules():
        if isinstance(module, Attention):
            module.attend = layer = Displaced(group)
            layers.append(layer)
    return layers
