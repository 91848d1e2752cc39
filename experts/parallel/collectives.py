"""Collectives that gradients flow back through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function
from torch.distributed import ProcessGroup

Lengths = Mapping[int, Sequence[int]]


def exchange(
    x: Tensor, cut: int, joined: int, group: ProcessGroup, uneven: Lengths | None = None
) -> Tensor:
    """All-to-all: give up parts of one dimension for the others' parts of another.

    Args:
        x: what this process has.
        cut: dimension of which each process keeps its part.
        joined: dimension of which it gets all parts, in order of rank.
        group: who exchanges.
        uneven: how long the part of each process is, by dimension, where they are not all alike.
    """
    result: Tensor = _Exchange.apply(  # type: ignore[no-untyped-call]
        x, (cut, joined), group, uneven or {}
    )
    return result


def gather(x: Tensor, dim: int, group: ProcessGroup) -> Tensor:
    """All parts along a dimension; what is made of them must be the same on every process."""
    result: Tensor = _Gather.apply(x, dim, group)  # type: ignore[no-untyped-call]
    return result


def add_up(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum over all processes; what is made of it must be the same on each of them."""
    result: Tensor = _AddUp.apply(x, group)  # type: ignore[no-untyped-call]
    return result


def lend(x: Tensor, group: ProcessGroup) -> Tensor:
    """The same on every process, each of which makes a part of what follows from it."""
    result: Tensor = _Lend.apply(x, group)  # type: ignore[no-untyped-call]
    return result


def _exchanged(x: Tensor, cut: int, joined: int, group: ProcessGroup, uneven: Lengths) -> Tensor:
    num, index = group.size(), group.rank()
    given = list(uneven.get(cut, ())) or [x.shape[cut] // num] * num
    shapes = [list(x.shape) for _ in range(num)]  # of what comes from each
    for shape, length in zip(shapes, uneven.get(joined) or [x.shape[joined]] * num, strict=True):
        shape[cut], shape[joined] = given[index], length
    sizes = [math.prod(shape) for shape in shapes]
    own = torch.split(x, given, cut)
    own_sizes = [part.numel() for part in own]
    sent, received = x.new_empty(x.numel()), x.new_empty(sum(sizes))
    for place, part in zip(torch.split(sent, own_sizes), own, strict=True):
        place.view_as(part).copy_(part)
    distributed.all_to_all_single(received, sent, sizes, own_sizes, group=group)
    parts = [
        part.view(shape) for part, shape in zip(torch.split(received, sizes), shapes, strict=True)
    ]
    return torch.cat(parts, joined)


def _sum(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.contiguous().clone()
    distributed.all_reduce(total, group=group)
    return total


class _Exchange(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dims: tuple[int, int], group: ProcessGroup, uneven: Lengths
    ) -> Tensor:
        ctx.ways = *dims, group, uneven
        return _exchanged(x, *dims, group, uneven)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        cut, joined, group, uneven = ctx.ways
        return _exchanged(grad, joined, cut, group, uneven), None, None, None


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: ProcessGroup) -> Tensor:
        ctx.dim, ctx.group = dim, group
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size(group))]
        distributed.all_gather(parts, x.contiguous(), group=group)
        return torch.cat(parts, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        num, index = distributed.get_world_size(ctx.group), distributed.get_rank(ctx.group)
        return grad.tensor_split(num, ctx.dim)[index].contiguous(), None, None


class _AddUp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:  # noqa: ARG004
        return _sum(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return grad, None


class _Lend(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _sum(grad, ctx.group), None
