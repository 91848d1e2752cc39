"""Who is to paint each image at its present point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from experts.condition import Conditioning
from router.gate import Gate
from router.rows import UNBOUND, Rows
from router.selection import Selection, select
from serving.engine.branches import NUM_BRANCHES, Branches, branches_of, rows_of
from serving.engine.slots import Slots

_LIKELY = 0.1  # p(k | x_t, t, c) from which an expert is worth a guess


@dataclass(frozen=True, slots=True, eq=False)
class Routed:
    """Who is to paint B images.

    Attributes:
        weights: of K experts, (B, 2, K), rows summing to 1, or to 0 for a branch that an image does
            not have.
        missed: those that would be among them and cannot be had, (B, K) bool.
        num_gated: rows the gate looked at; the others were bound.
    """

    weights: Tensor
    missed: Tensor
    num_gated: int


@dataclass(slots=True, eq=False)
class Routes:
    """Of S slots.

    Attributes:
        known: whether the image was routed at its present point, (S,) bool.
        likely: what the gate thought of the K experts last, (S, K); 0 where it was not asked.
        last: what was told last, see :class:`Routed`, (S, 2, K).
        num: points in a row that this holds for, (S,); 0 where nothing was told yet.
        every: points for which a route holds; 1 for its own alone.
    """

    known: Tensor
    likely: Tensor
    last: Tensor
    num: Tensor
    every: int

    @classmethod
    def empty(cls, num: int, num_experts: int, every: int, device: torch.device) -> Self:
        """Nobody is routed."""
        whole = torch.zeros(num, dtype=torch.int64, device=device)
        likely = torch.zeros(num, num_experts, device=device)
        last = torch.zeros(num, NUM_BRANCHES, num_experts, device=device)
        return cls(whole > 0, likely, last, whole, every)

    def route(  # noqa: PLR0917 - all that a route follows from
        self,
        images: Slots,
        slots: Tensor,
        selections: Sequence[Selection],
        gate: Gate,
        conditioning: Conditioning,
        without: Tensor,
    ) -> Routed:
        """Route images at their present points, with one pass of the gate for all of them.

        Those whose last route holds for this point, too, take it.

        Args:
            images: all slots.
            slots: those to route, (B,), of one shape.
            selections: of each of them.
            gate: p(k | x_t, t, c).
            conditioning: knows how "no condition" looks.
            without: experts that each of them does without, (B, K) bool, not all: where one would
                be selected, those left are selected from as if there had never been others, and
                who was bound to it is bound anew.
        """
        holds = self._holds(slots, selections, without)
        weights, missed = self.last[slots], torch.zeros_like(without)
        rest = (~holds).nonzero().squeeze(1)
        num_gated = 0
        if len(rest):
            theirs = [selections[place] for place in rest.tolist()]
            asked = self._ask(images, slots[rest], theirs, gate, conditioning, without[rest])
            weights[rest], missed[rest], num_gated = asked.weights, asked.missed, asked.num_gated
        self.last[slots], self.known[slots] = weights, True
        self.num[slots] = torch.where(holds, self.num[slots] + 1, 1)
        self.num[slots[missed.any(1)]] = 0  # that is told of each point
        return Routed(weights, missed, num_gated)

    def _holds(self, slots: Tensor, selections: Sequence[Selection], without: Tensor) -> Tensor:
        """Whose last route is taken once more, (B,) bool."""
        holds = (self.num[slots] > 0) & (self.num[slots] < self.every)
        if self.every > 1:
            draws = torch.tensor([each.name == "sample" for each in selections])
            holds &= ~draws.to(slots.device)  # at each step anew
            holds &= ~((self.last[slots] > 0).any(1) & without).any(1)
        return holds

    def _ask(  # noqa: PLR0917 - see above
        self,
        images: Slots,
        slots: Tensor,
        selections: Sequence[Selection],
        gate: Gate,
        conditioning: Conditioning,
        without: Tensor,
    ) -> Routed:
        _unbind(images, slots, without)
        branches = branches_of(images, slots, conditioning)
        rows = Rows(images.seed[branches.slot], images.expert[branches.slot])
        num_experts, dtype = self.likely.shape[1], self.likely.dtype
        weights = F.one_hot(rows.expert.clamp(min=0), num_experts).to(dtype)
        missed = torch.zeros_like(without)
        self.likely[slots] = 0
        free = (rows.expert == UNBOUND).nonzero().squeeze(1)
        if len(free):
            p = gate(branches.x[free], branches.t[free], rows_of(branches.cond, free))
            towards = branches.branch[free] == 0
            self.likely[branches.slot[free[towards]]] = p[towards].to(dtype)
            whose = branches.place[free].tolist()
            for selection in dict.fromkeys(selections[place] for place in whose):
                mine = [i for i, place in enumerate(whose) if selections[place] == selection]
                part = torch.tensor(mine, device=free.device)
                its = free[part]
                gone = without[branches.place[its]]
                chosen = _selected(selection, p[part], rows, branches.t, its)
                misses = (chosen > 0) & gone
                others = _selected(selection, _shared(p[part], gone), rows, branches.t, its)
                chosen = torch.where(misses.any(1, keepdim=True), others, chosen)
                missed.index_put_((branches.place[its],), misses, accumulate=True)
                weights[its] = chosen.to(dtype)
                if selection.name == "ancestral":
                    _bind(images, branches, its, weights)
        told = weights.new_zeros(len(slots), NUM_BRANCHES, num_experts)
        told[branches.place, branches.branch] = weights
        return Routed(told, missed, len(free))

    def soon(self, slots: Tensor) -> tuple[int, ...]:
        """Experts that the gate thinks likely for some of these images, the likeliest first.

        Its opinion moves slowly from step to step: who is likely now is asked soon.
        """
        likely = self.likely[slots]
        experts = (likely >= _LIKELY).any(0).nonzero().squeeze(1).tolist()
        total = likely.sum(0).tolist()
        return tuple(sorted(experts, key=lambda expert: -total[expert]))

    def move(self, slots: Tensor) -> None:
        """Images have come to new points, and are to be routed there."""
        self.known[slots] = False

    def forget(self, slots: Tensor) -> None:
        """Have images routed as if for the first time."""
        self.known[slots], self.num[slots] = False, 0


def _unbind(images: Slots, slots: Tensor, without: Tensor) -> None:
    expert = images.expert[slots]
    is_gone = (expert != UNBOUND) & without.gather(1, expert.clamp(min=0)[:, None]).squeeze(1)
    images.expert[slots] = expert.where(~is_gone, UNBOUND)


def _shared(p: Tensor, without: Tensor) -> Tensor:
    """Probabilities of the experts that are left, as if there had never been others: (R, K)."""
    left = p.where(~without, 0)
    total = left.sum(1, keepdim=True)
    nobody = (~without).to(p.dtype) / (~without).sum(1, keepdim=True)
    return torch.where(total > 0, left / total, nobody)


def _bind(images: Slots, branches: Branches, rows: Tensor, weights: Tensor) -> None:
    """Keep images to one expert: the one their branch with a condition has drawn."""
    first = rows[branches.branch[rows] == 0]
    images.expert[branches.slot[first]] = weights[first].argmax(1)
    weights[rows] = F.one_hot(images.expert[branches.slot[rows]], weights.shape[1]).to(
        weights.dtype
    )


def _selected(selection: Selection, p: Tensor, rows: Rows, t: Tensor, its: Tensor) -> Tensor:
    """The weights of some of the rows, whose probabilities are p."""
    if not selection.draws:
        return select(selection, p)
    if selection.name == "sample":
        return select(selection, p, rows[its].step_uniform(t[its]))
    return select(selection, p, rows[its].image_uniform())
