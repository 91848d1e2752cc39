"""Classifier-free guidance of a velocity field.

``u = (1 - s) u(x_t | no condition) + s u(x_t | c)``. Where the field is an ensemble, the gate
sees what the branch sees, so each branch mixes the experts by its own posterior.

Under ancestral selection both branches follow the one expert k drawn from p(k | c) before the first
step: ``u = (1 - s) u_k(x_t | no condition) + s u_k(x_t | c)``. This is a choice. The branch without
a condition is expert k's alone and not drawn from p(k), so guidance leans away from cluster k as a
whole rather than from the whole data set, and a step costs two evaluations of one expert and none
of the gate.

Source: Ho & Salimans, Classifier-Free Diffusion Guidance (arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from experts.condition import Conditioning
from experts.flow import per_row
from router.rows import Rows


class RoutedField(Protocol):
    """A velocity field that heeds the state of its rows, as an ensemble does."""

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None, rows: Rows) -> Tensor:
        """See :class:`experts.flow.VelocityField`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Guided:
    """A field that leans towards its condition.

    Attributes:
        field: what is guided.
        conditioning: knows how "no condition" looks.
        scale: s for each row, (B,); rows where it is 1 cost one evaluation, the others two.
    """

    field: RoutedField
    conditioning: Conditioning
    scale: Tensor

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None, rows: Rows) -> Tensor:
        """The guided velocity; both branches go through the field as one batch."""
        guided = (self.scale != 1).nonzero().squeeze(1)
        if cond is None or len(guided) == 0:
            return self.field(x_t, t, cond, rows)
        num = len(x_t)
        both = torch.cat([torch.arange(num, device=x_t.device), guided])
        without = torch.arange(len(both), device=x_t.device) >= num
        velocity = self.field(
            x_t[both], t[both], self.conditioning.drop(cond[both], without), rows[both]
        )
        towards, away = velocity[:num], velocity[num:]
        scale = per_row(self.scale[guided], x_t)
        return towards.index_put((guided,), (1 - scale) * away + scale * towards[guided])
