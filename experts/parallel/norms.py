"""The norm of all gradients together, wherever their parts are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from experts.parallel.mesh import Mesh, Way
from experts.parallel.portions import Portions, local


def clip(parameters: Mapping[str, nn.Parameter], most: float, mesh: Mesh, own: Portions) -> Tensor:
    """Scale all gradients down to a norm, as one process would.

    Args:
        parameters: of this process, by name.
        most: the norm.
        mesh: where this process stands.
        own: what it has of each parameter.

    Returns:
        The norm before, a scalar, the same on every process.
    """
    if mesh.size("shard", "tensor") * mesh.size("pipeline") == 1:
        return nn.utils.clip_grad_norm_(parameters.values(), most)
    # Who holds a part of a parameter adds to the norm; who holds a copy of it must not.
    apart: dict[tuple[Way, ...], list[Tensor]] = {}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            ways: tuple[Way, ...] = ("shard",) if isinstance(parameter, DTensor) else ()
            ways += ("tensor",) if own.is_cut(name) else ()
            apart.setdefault(ways, []).append(local(parameter.grad))
    device = local(next(iter(parameters.values()))).device
    total = torch.zeros((), device=device)
    for ways in sorted({*apart, *_ways(mesh)}):
        square = nn.utils.get_total_norm(apart.get(ways, [])).to(device).square()
        if mesh.size(*ways) > 1:
            distributed.all_reduce(square, group=mesh.group(*ways))
        total += square
    if mesh.size("pipeline") > 1:
        distributed.all_reduce(total, group=mesh.group("pipeline"))
    norm = total.sqrt()
    every = [local(each.grad) for each in parameters.values() if each.grad is not None]
    torch._foreach_mul_(every, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _ways(mesh: Mesh) -> set[tuple[Way, ...]]:
    """In which ways parameters may be apart here: all processes ask the same, also who has none."""
    along: tuple[Way, ...] = ("shard", "tensor")
    shared = tuple(way for way in along if mesh.size(way) > 1)
    return {ways for ways in ((), ("shard",), ("tensor",), shared) if set(ways) <= set(shared)}
