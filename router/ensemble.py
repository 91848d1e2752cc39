"""K experts as one velocity field.

The marginal velocity of the whole data set is ``u = sum_k p(k | x_t, t, c) u_k``, where u_k is that
of cluster k.

Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atoll.errors import BadInput
from experts.flow import VelocityField, per_row
from router.gate import Gate, uniform_gate
from router.rows import UNBOUND, Rows
from router.selection import Selection, select


@dataclass(frozen=True, slots=True, eq=False)
class Routing:
    """Who paints a batch, at one evaluation of the field.

    Binding rows before their first step paints nothing: it is a routing of no rows, B = 0, at the
    price of the rows the gate looked at.

    Attributes:
        t: (B,), when.
        weights: (B, K), rows summing to 1; experts with weight 0 are not asked.
        num_gated: rows the gate had to look at; the others were bound.
    """

    t: Tensor
    weights: Tensor
    num_gated: int


def _nobody(routing: Routing) -> None:
    """Watches nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Experts, the gate that knows them apart, and how its opinion is followed.

    Attributes:
        experts: K velocity fields, here or elsewhere.
        gate: p(k | x_t, t, c).
        selection: from probabilities to weights.
        watch: is told every routing, for those who count or draw them.
    """

    experts: Sequence[VelocityField]
    gate: Gate
    selection: Selection
    watch: Callable[[Routing], None] = _nobody

    def __call__(
        self, x_t: Tensor, t: Tensor, cond: Tensor | None, rows: Rows | None = None
    ) -> Tensor:
        """The mixed velocity, see :class:`experts.flow.VelocityField`.

        Args:
            x_t: (B, C, H, W).
            t: (B,); rows may be at different times.
            cond: as the experts take it.
            rows: the state of each row; may be left out where the selection draws nothing.

        Returns:
            (B, C, H, W).

        Raises:
            BadInput: the selection draws, and there are no rows to draw for.
        """
        routing = self.route(x_t, t, cond, rows)
        self.watch(routing)
        return mixture(self.experts, routing.weights, x_t, t, cond)

    def begin(self, x_1: Tensor, cond: Tensor | None, rows: Rows) -> Rows:
        """Bind rows to an expert, before their first step, where the selection keeps to one.

        Ancestral selection draws it from p(k | c), the gate's posterior at t = 1. The other
        selections leave their rows as they are.

        Args:
            x_1: noise, (B, C, H, W).
            cond: as the experts take it.
            rows: of this batch.
        """
        if self.selection.name != "ancestral":
            return rows
        free = (rows.expert == UNBOUND).nonzero().squeeze(1)
        if len(free) == 0:
            return rows
        p = self.gate(x_1[free], x_1.new_ones(len(free)), _at(cond, free))
        self.watch(Routing(x_1.new_empty(0), p[:0], len(free)))
        choice = select(self.selection, p, rows[free].image_uniform()).argmax(1)
        return rows.bound(rows.expert.index_copy(0, free, choice))

    def route(
        self, x_t: Tensor, t: Tensor, cond: Tensor | None, rows: Rows | None = None
    ) -> Routing:
        """The weights at one evaluation; arguments as in :meth:`__call__`."""
        if rows is None:
            if self.selection.draws:
                raise BadInput(
                    f"{self.selection.name} selection draws an expert for each image; "
                    "give the rows' seeds, or use full, top-N, threshold-P or nucleus-P"
                )
            return Routing(t, select(self.selection, self.gate(x_t, t, cond)), len(x_t))
        free = (rows.expert == UNBOUND).nonzero().squeeze(1)
        if len(free) == len(x_t):
            return Routing(t, self._selected(x_t, t, cond, rows), len(x_t))
        weights = F.one_hot(rows.expert.clamp(min=0), len(self.experts)).to(x_t.dtype)
        if len(free):
            some = self._selected(x_t[free], t[free], _at(cond, free), rows[free])
            weights[free] = some.to(weights.dtype)
        return Routing(t, weights, len(free))

    def _selected(self, x_t: Tensor, t: Tensor, cond: Tensor | None, rows: Rows) -> Tensor:
        if self.selection.name == "ancestral":
            raise BadInput("ancestral selection follows one expert: begin the rows before a step")
        p = self.gate(x_t, t, cond)
        if not self.selection.draws:
            return select(self.selection, p)
        fresh = self.selection.name == "sample"
        return select(self.selection, p, rows.step_uniform(t) if fresh else rows.image_uniform())


def alone(expert: VelocityField, device: torch.device) -> Ensemble:
    """One expert, or a monolith, as an ensemble."""
    return Ensemble((expert,), uniform_gate(1, device), Selection("full"))


def mixture(
    experts: Sequence[VelocityField], weights: Tensor, x_t: Tensor, t: Tensor, cond: Tensor | None
) -> Tensor:
    """The weighted mean of the experts' velocities.

    Rows are grouped by expert, and an expert is given those rows alone in which it has weight.

    Args:
        experts: K velocity fields.
        weights: (B, K), rows summing to 1.
        x_t: (B, C, H, W).
        t: (B,).
        cond: as the experts take it.

    Returns:
        (B, C, H, W).
    """
    velocity = torch.zeros_like(x_t)
    # The rows of the first expert, of the second, and so on; how many of each is one transfer.
    expert, row = (weights > 0).T.nonzero(as_tuple=True)
    sizes = torch.bincount(expert, minlength=len(experts)).tolist()
    x, times, shares = x_t[row], t[row], per_row(weights[row, expert], x_t)
    conditions = _at(cond, row)
    begin = 0
    for field, size in zip(experts, sizes, strict=True):
        if size == 0:
            continue
        group = slice(begin, begin + size)
        begin += size
        part = field(x[group], times[group], _at(conditions, group))
        velocity.index_add_(0, row[group], (shares[group] * part).to(velocity.dtype))
    return velocity


def _at(cond: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    return None if cond is None else cond[rows]
