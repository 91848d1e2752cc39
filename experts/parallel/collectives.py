"""Collectives that gradients flow back through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function
from torch.distributed import ProcessGroup


def exchange(x: Tensor, cut: int, joined: int, group: ProcessGroup) -> Tensor:
    """All-to-all: give up parts of one dimension for the others' parts of another.

    Args:
        x: what this process has.
        cut: dimension of which each process keeps its part; a multiple of their number.
        joined: dimension of which it gets all parts, in order of rank.
        group: who exchanges.
    """
    result: Tensor = _Exchange.apply(x, cut, joined, group)  # type: ignore[no-untyped-call]
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


def _exchanged(x: Tensor, cut: int, joined: int, group: ProcessGroup) -> Tensor:
    num = distributed.get_world_size(group)
    sent = torch.stack(x.tensor_split(num, cut)).contiguous()  # (processes, ...)
    received = torch.empty_like(sent)
    distributed.all_to_all_single(received, sent, group=group)
    return torch.cat(received.unbind(), joined)


def _sum(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.contiguous().clone()
    distributed.all_reduce(total, group=group)
    return total


class _Exchange(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cut: int, joined: int, group: ProcessGroup) -> Tensor:
        ctx.ways = cut, joined, group
        return _exchanged(x, cut, joined, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        cut, joined, group = ctx.ways
        return _exchanged(grad, joined, cut, group), None, None, None


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
