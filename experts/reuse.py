"""A network's answer at a point near an earlier one, with what its blocks have added there.

Between neighbouring points of a path the blocks add nearly the same to an image's tokens. Embedding
and final layer, which know the time and the point, are cheap beside them.

Source: Selvaraju et al., FORA (arXiv 2407.01425), for reuse at a fixed interval, there of each
layer's output; Liu et al., TeaCache (arXiv 2411.19108), for all that the blocks add as one.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from atoll.flops import Shape
from experts.converted import Converted, network_of
from experts.dit import shape_of
from experts.flow import VelocityField


@runtime_checkable
class Parted(Protocol):
    """A network whose blocks stand between an embedding and a final layer."""

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor, ...]:
        """Tokens, (B, N, D), and what the blocks are told besides."""
        ...

    def advance(self, *streams: Tensor) -> tuple[Tensor, ...]:
        """The same after the blocks."""
        ...

    def finish(self, *streams: Tensor, shape: Shape | None = None) -> Tensor:
        """What the network tells, (B, C, H, W)."""
        ...


def is_parted(field: VelocityField) -> bool:
    """Whether the network of a field is known to have such parts."""
    return isinstance(network_of(field), Parted)


def velocity_anew(
    field: VelocityField, x_t: Tensor, t: Tensor, cond: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The field's velocity, and what its blocks have added to the tokens, (B, N, D).

    Args:
        field: see :func:`is_parted`.
        x_t: see :class:`experts.flow.VelocityField`, and so the others.
        t: likewise.
        cond: likewise.
    """
    network, (z, s) = _parts(field, x_t, t)
    tokens, *told = network.embed(z, s, cond)
    after = network.advance(tokens, *told)
    answer = network.finish(*after, shape=shape_of(x_t))
    return _velocity(field, x_t, t, answer), after[0] - tokens


def velocity_again(
    field: VelocityField, x_t: Tensor, t: Tensor, cond: Tensor | None, added: Tensor
) -> Tensor:
    """Nearly the field's velocity, by what its blocks have added before; arguments as above."""
    network, (z, s) = _parts(field, x_t, t)
    tokens, *told = network.embed(z, s, cond)
    answer = network.finish(tokens + added, *told, shape=shape_of(x_t))
    return _velocity(field, x_t, t, answer)


def velocity_partly(  # noqa: PLR0917 - a velocity's own, and what is reused
    field: VelocityField,
    x_t: Tensor,
    t: Tensor,
    cond: Tensor | None,
    again: Tensor,
    before: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """The field's velocity, of some rows by what its blocks have added before.

    Args:
        field: see :func:`is_parted`.
        x_t: see :class:`experts.flow.VelocityField`, and so the next two.
        t: likewise.
        cond: likewise.
        again: which rows these are, (B,) bool.
        before: what was added to them, (A, N, D); None for no rows.

    Returns:
        The velocity, and what the blocks have added to the other rows, (B - A, N, D); None for no
        rows.
    """
    velocity, added = torch.empty_like(x_t), None
    for rows, known in ((again, before), (~again, None)):
        if not rows.any():
            continue
        part = x_t[rows], t[rows], None if cond is None else cond[rows]
        if known is not None:
            velocity[rows] = velocity_again(field, *part, known)
        else:
            velocity[rows], added = velocity_anew(field, *part)
    return velocity, added


def _parts(field: VelocityField, x_t: Tensor, t: Tensor) -> tuple[Parted, tuple[Tensor, Tensor]]:
    network = network_of(field)
    assert isinstance(network, Parted)
    return network, field.asked(x_t, t) if isinstance(field, Converted) else (x_t, t)


def _velocity(field: VelocityField, x_t: Tensor, t: Tensor, answer: Tensor) -> Tensor:
    return field.velocity(x_t, t, answer) if isinstance(field, Converted) else answer
