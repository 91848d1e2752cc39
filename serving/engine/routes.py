"""Who is to paint each image at its present point, and what was heard of them so far.

An evaluation may take several batches, where not all of its experts are in memory at once: each
batch adds what the experts in it say, and the evaluation is over once all have spoken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from experts.condition import Conditioning
from experts.flow import VelocityField, per_row
from router.ensemble import mixture
from router.gate import Gate
from router.rows import UNBOUND, Rows
from router.selection import Selection, select
from serving.engine.slots import Slots

_BRANCHES = 2  # with the condition, and without it
_LIKELY = 0.1  # p(k | x_t, t, c) from which an expert is worth a guess


@dataclass(slots=True, eq=False)
class Routes:
    """For each of S slots and its two branches, the weights of K experts.

    Attributes:
        weights: (S, 2, K), rows summing to 1, or to 0 for a branch that an image does not have.
        unheard: experts with weight that have not spoken yet, (S, 2, K) bool.
        known: whether the image was routed at its present point, (S,) bool.
        total: what was heard, weighted, (S, 2, N); see :mod:`serving.engine.slots`.
        likely: what the gate thought of the experts last, (S, K); 0 where it was not asked.
        in_order: whether experts are heard one after the other, by their numbers. Sums then have
            the same bits whoever is in memory when; it takes more batches.
    """

    weights: Tensor
    unheard: Tensor
    known: Tensor
    total: Tensor
    likely: Tensor
    in_order: bool

    @classmethod
    def empty(
        cls,
        num: int,
        num_experts: int,
        num_values: int,
        device: torch.device,
        *,
        in_order: bool = False,
    ) -> Self:
        """Nobody is routed; N values of an image."""
        weights = torch.zeros(num, _BRANCHES, num_experts, device=device)
        known = torch.zeros(num, dtype=torch.bool, device=device)
        total = torch.zeros(num, _BRANCHES, num_values, device=device)
        return cls(weights, weights > 0, known, total, weights[:, 0].clone(), in_order)

    def route(
        self,
        images: Slots,
        slots: Tensor,
        selections: Sequence[Selection],
        gate: Gate,
        conditioning: Conditioning,
    ) -> int:
        """Route images at their present points, with one pass of the gate for all of them.

        Args:
            images: all slots.
            slots: those to route, (B,), of one shape.
            selections: of each of them.
            gate: p(k | x_t, t, c).
            conditioning: knows how "no condition" looks.

        Returns:
            Rows the gate looked at; the others were bound.
        """
        branches = _branches(images, slots, conditioning)
        rows = Rows(images.seed[branches.slot], images.expert[branches.slot])
        num_gated = 0
        weights = F.one_hot(rows.expert.clamp(min=0), self.weights.shape[2]).to(self.weights.dtype)
        self.likely[slots] = 0
        free = (rows.expert == UNBOUND).nonzero().squeeze(1)
        if len(free):
            num_gated = len(free)
            p = gate(branches.x[free], branches.t[free], _at(branches.cond, free))
            towards = branches.branch[free] == 0
            self.likely[branches.slot[free[towards]]] = p[towards].to(weights.dtype)
            whose = branches.place[free].tolist()
            for selection in dict.fromkeys(selections[place] for place in whose):
                mine = [i for i, place in enumerate(whose) if selections[place] == selection]
                part = torch.tensor(mine, device=free.device)
                its = free[part]
                weights[its] = _selected(selection, p[part], rows, branches.t, its).to(
                    weights.dtype
                )
                if selection.name == "ancestral":
                    self._bind(images, branches, its, weights)
        self.weights[slots], self.total[slots] = 0, 0
        self.weights[branches.slot, branches.branch] = weights
        self.unheard[slots] = self.weights[slots] > 0
        self.known[slots] = True
        return num_gated

    def soon(self, slots: Tensor) -> tuple[int, ...]:
        """Experts that the gate thinks likely for some of these images, the likeliest first.

        Its opinion moves slowly from step to step: who is likely now is asked soon.
        """
        likely = self.likely[slots]
        experts = (likely >= _LIKELY).any(0).nonzero().squeeze(1).tolist()
        total = likely.sum(0).tolist()
        return tuple(sorted(experts, key=lambda expert: -total[expert]))

    def forget(self, slots: Tensor) -> None:
        """Have images routed anew at their present points; until then they wait for nobody."""
        self.known[slots] = False
        self.unheard[slots] = False

    def hear(
        self,
        images: Slots,
        slots: Tensor,
        resident: Mapping[int, VelocityField],
        conditioning: Conditioning,
    ) -> tuple[int, ...]:
        """Add what experts in memory say of images, each of them asked once for all its rows.

        Args:
            images: all slots.
            slots: of routed images, (B,), of one shape.
            resident: the experts in memory, by number.
            conditioning: knows how "no condition" looks.

        Returns:
            Rows that each of the K experts was given.
        """
        branches = _branches(images, slots, conditioning)
        num_experts = self.weights.shape[2]
        there = torch.zeros(num_experts, dtype=torch.bool, device=self.weights.device)
        there[list(resident)] = True
        experts = [resident.get(expert, _nobody) for expert in range(num_experts)]
        num_rows = torch.zeros(num_experts, dtype=torch.int64, device=self.weights.device)
        for _ in range(num_experts if self.in_order else 1):
            asked = self._next_of(self.unheard[branches.slot, branches.branch]) & there
            weights = self.weights[branches.slot, branches.branch] * asked
            said = mixture(experts, weights, branches.x, branches.t, branches.cond).flatten(1)
            self.total[branches.slot, branches.branch, : said.shape[1]] += said
            self.unheard[branches.slot, branches.branch] &= ~asked
            num_rows += asked.sum(0)
        return tuple(num_rows.tolist())

    def awaited(self, slots: Tensor) -> Tensor:
        """Experts that these images' branches can be evaluated with next, (B, 2, K) bool."""
        return self._next_of(self.unheard[slots])

    def finished(self, slots: Tensor) -> Tensor:
        """Which of these images have heard all their experts, (B,) bool."""
        return ~self.unheard[slots].any(dim=(1, 2))

    def velocity(self, images: Slots, slots: Tensor) -> Tensor:
        """What was heard, guided (see :mod:`router.guidance`); each is to be routed anew.

        Args:
            images: all slots.
            slots: of images that have heard all, (B,).

        Returns:
            (B, N).
        """
        towards, away = self.total[slots, 0], self.total[slots, 1]
        scale = per_row(images.guidance[slots], towards)
        self.known[slots] = False
        return torch.where(scale == 1, towards, (1 - scale) * away + scale * towards)

    def _next_of(self, unheard: Tensor) -> Tensor:
        return unheard & (unheard.cumsum(-1) == 1) if self.in_order else unheard

    def _bind(self, images: Slots, branches: _Branches, rows: Tensor, weights: Tensor) -> None:
        """Keep images to one expert: the one their branch with a condition has drawn."""
        first = rows[branches.branch[rows] == 0]
        images.expert[branches.slot[first]] = weights[first].argmax(1)
        weights[rows] = F.one_hot(images.expert[branches.slot[rows]], weights.shape[1]).to(
            weights.dtype
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Branches:
    """The rows of a batch: B images, and once more those of them that are guided.

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


def _branches(images: Slots, slots: Tensor, conditioning: Conditioning) -> _Branches:
    every = torch.arange(len(slots), device=slots.device)
    guided = (images.guidance[slots] != 1).nonzero().squeeze(1)
    if images.cond is None or len(guided) == 0:  # all rows have what condition there is
        x, t, cond = images.points(slots), images.t[slots], _at(images.cond, slots)
        return _Branches(every, slots, torch.zeros_like(slots), x, t, cond)
    place = torch.cat([every, guided])
    without = torch.arange(len(place), device=slots.device) >= len(slots)
    slot = slots[place]
    cond = conditioning.drop(images.cond[slot], without)
    return _Branches(place, slot, without.long(), images.points(slot), images.t[slot], cond)


def _selected(selection: Selection, p: Tensor, rows: Rows, t: Tensor, its: Tensor) -> Tensor:
    """The weights of some of the rows, whose probabilities are p."""
    if not selection.draws:
        return select(selection, p)
    if selection.name == "sample":
        return select(selection, p, rows[its].step_uniform(t[its]))
    return select(selection, p, rows[its].image_uniform())


def _nobody(x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:  # noqa: ARG001
    raise AssertionError("an expert that is not in memory was asked")


def _at(cond: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if cond is None else cond[rows]
