"""The rows of a batch: images at their present points, and once more those that are guided."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.condition import Conditioning
from experts.flow import per_row
from serving.engine.slots import Slots

NUM_BRANCHES = 2  # with the condition, and without it


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """R rows of B images.

    Attributes:
        place: of the row's image among the B, (R,).
        slot: of its image, (R,).
        branch: 0 with the condition, 1 without, (R,).
        x: (R, C, H, W).
        t: (R,).
        cond: (R, ...); None without.
    """

    place: Tensor
    slot: Tensor
    branch: Tensor
    x: Tensor
    t: Tensor
    cond: Tensor | None


def branches_of(images: Slots, slots: Tensor, conditioning: Conditioning) -> Branches:
    """The rows of some images.

    Args:
        images: all slots.
        slots: those of the images, (B,), of one shape.
        conditioning: knows how "no condition" looks.
    """
    every = torch.arange(len(slots), device=slots.device)
    guided = (images.guidance[slots] != 1).nonzero().squeeze(1)
    if images.cond is None or len(guided) == 0:  # all rows have what condition there is
        x, t, cond = images.points(slots), images.t[slots], rows_of(images.cond, slots)
        return Branches(every, slots, torch.zeros_like(slots), x, t, cond)
    place = torch.cat([every, guided])
    without = torch.arange(len(place), device=slots.device) >= len(slots)
    slot = slots[place]
    cond = conditioning.drop(images.cond[slot], without)
    return Branches(place, slot, without.long(), images.points(slot), images.t[slot], cond)


def guided(towards: Tensor, away: Tensor, guidance: Tensor) -> Tensor:
    """Velocities of both branches as one, see :mod:`router.guidance`.

    Args:
        towards: with the condition, (B, N).
        away: without it, (B, N); anything where there is no guidance.
        guidance: (B,).
    """
    scale = per_row(guidance, towards)
    return torch.where(scale == 1, towards, (1 - scale) * away + scale * towards)


def rows_of(cond: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    """Conditions of some of the rows, if there are any."""
    return None if cond is None else cond[rows]
