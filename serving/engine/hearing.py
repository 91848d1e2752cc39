"""What was asked of the experts about each image at its present point, and what they have said.

An evaluation may take several batches, where not all of its experts are in memory at once, and the
answers of experts elsewhere come when they come. What is said is added up in the order of the
experts' numbers, so that sums have the same bits whoever spoke first; who spoke before their turn
is remembered for so long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from experts.condition import Conditioning
from experts.flow import per_row
from serving.engine.branches import NUM_BRANCHES, branches_of, guided, rows_of
from serving.engine.slots import Slots


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Rows that one expert is asked about.

    Attributes:
        expert: its number.
        slot: of each row's image, (R,).
        branch: with the condition or without, (R,).
        turn: of the slot's point, (R,); an answer about another point is of no use.
        weight: of the expert, (R,).
        x: (R, C, H, W).
        t: (R,).
        cond: (R, ...); None without.
    """

    expert: int
    slot: Tensor
    branch: Tensor
    turn: Tensor
    weight: Tensor
    x: Tensor
    t: Tensor
    cond: Tensor | None

    def part(self, rows: Tensor) -> Question:
        """The same about some of the rows, (R,) bool."""
        return Question(
            expert=self.expert,
            slot=self.slot[rows],
            branch=self.branch[rows],
            turn=self.turn[rows],
            weight=self.weight[rows],
            x=self.x[rows],
            t=self.t[rows],
            cond=None if self.cond is None else self.cond[rows],
        )


@dataclass(slots=True, eq=False)
class Hearing:
    """For each of S slots and its two branches, what K experts say of it.

    Attributes:
        weights: of the experts, (S, 2, K); 0 for those that are not to be heard.
        unheard: experts that are to be heard and are not in the sum yet, (S, 2, K) bool.
        asked: those of them that somebody has asked, (S, 2, K) bool.
        turn: grows with every new point of a slot, and when it is forgotten, (S,) int64.
        total: what was heard, weighted, (S, 2, N); see :mod:`serving.engine.slots`.
        early: by slot, branch and expert, what was heard before its turn, weighted, (N',).
    """

    weights: Tensor
    unheard: Tensor
    asked: Tensor
    turn: Tensor
    total: Tensor
    early: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)

    @classmethod
    def empty(cls, num: int, num_experts: int, num_values: int, device: torch.device) -> Self:
        """Nobody is to be heard; N values of an image."""
        weights = torch.zeros(num, NUM_BRANCHES, num_experts, device=device)
        total = torch.zeros(num, NUM_BRANCHES, num_values, device=device)
        turn = torch.zeros(num, dtype=torch.int64, device=device)
        return cls(weights, weights > 0, weights > 0, turn, total)

    def expect(self, slots: Tensor, weights: Tensor) -> None:
        """Have images hear the experts that have a weight at their new point.

        Args:
            slots: whose, (B,).
            weights: (B, 2, K).
        """
        self.forget(slots)
        self.weights[slots], self.total[slots] = weights, 0
        self.unheard[slots] = weights > 0

    def forget(self, slots: Tensor) -> None:
        """Have images hear nobody; answers that are still to come are of no use."""
        self.unheard[slots] = self.asked[slots] = False
        self.turn[slots] += 1
        if self.early:
            gone = set(slots.tolist())
            self.early = {key: part for key, part in self.early.items() if key[0] not in gone}

    def awaited(self, slots: Tensor) -> Tensor:
        """Experts that are to be asked about these images, (B, 2, K) bool."""
        return self.unheard[slots] & ~self.asked[slots]

    def finished(self, slots: Tensor) -> Tensor:
        """Which of these images have heard all their experts, (B,) bool."""
        return ~self.unheard[slots].any(dim=(1, 2))

    def questions(
        self, images: Slots, slots: Tensor, there: Collection[int], conditioning: Conditioning
    ) -> Iterator[Question]:
        """What to ask the experts that are there about some images, each of them once.

        Args:
            images: all slots.
            slots: of routed images, (B,), of one shape.
            there: numbers of experts.
            conditioning: knows how "no condition" looks.
        """
        rows = branches_of(images, slots, conditioning)
        num_experts = self.weights.shape[2]
        can = torch.zeros(num_experts, dtype=torch.bool, device=self.weights.device)
        can[list(there)] = True
        asked = (self.unheard & ~self.asked)[rows.slot, rows.branch] & can
        # The rows of the first expert, of the second, and so on; how many of each is one transfer.
        expert, row = asked.T.nonzero(as_tuple=True)
        begin = 0
        for number, size in enumerate(torch.bincount(expert, minlength=num_experts).tolist()):
            if size == 0:
                continue
            its, begin = row[begin : begin + size], begin + size
            slot, branch = rows.slot[its], rows.branch[its]
            self.asked[slot, branch, number] = True
            yield Question(
                expert=number,
                slot=slot,
                branch=branch,
                turn=self.turn[slot],
                weight=self.weights[slot, branch, number],
                x=rows.x[its],
                t=rows.t[its],
                cond=rows_of(rows.cond, its),
            )

    def take(self, question: Question, velocity: Tensor) -> None:
        """Add what an expert says.

        Args:
            question: that it was asked.
            velocity: (R, C, H, W).
        """
        part = (per_row(question.weight, velocity) * velocity).flatten(1).to(self.total.dtype)
        is_due = ~self.unheard[question.slot, question.branch, : question.expert].any(1)
        is_due &= self.turn[question.slot] == question.turn
        if is_due.all():
            self._add(question.slot, question.branch, question.expert, part)
        else:
            due = is_due.nonzero().squeeze(1)
            self._add(question.slot[due], question.branch[due], question.expert, part[due])
            self._remember(question, part, ~is_due)
        if self.early:
            self._catch_up()

    def velocity(self, images: Slots, slots: Tensor) -> Tensor:
        """What was heard, guided (see :mod:`router.guidance`).

        Args:
            images: all slots.
            slots: of images that have heard all, (B,).

        Returns:
            (B, N).
        """
        return guided(self.total[slots, 0], self.total[slots, 1], images.guidance[slots])

    def alone(self, slots: Tensor) -> Tensor:
        """The one expert that is to be heard of each of these images, (B,) int64; -1 for others."""
        weights = self.weights[slots]
        mine, num = weights[:, 0].argmax(1), (weights > 0).sum(2)
        own = weights.gather(2, mine[:, None, None].expand(-1, NUM_BRANCHES, 1)).squeeze(2)
        is_alone = (num[:, 0] == 1) & (own[:, 0] == 1) & (num[:, 1] == own[:, 1])
        return mine.where(is_alone, -1)

    def add(self, slot: Tensor, branch: Tensor, expert: Tensor, velocity: Tensor) -> None:
        """Add what is known already of images that are to hear one expert alone.

        Args:
            slot: of each row, (R,).
            branch: (R,).
            expert: (R,).
            velocity: (R, N).
        """
        self._add(slot, branch, expert, velocity.to(self.total.dtype))

    def withdraw(self, question: Question) -> None:
        """An expert says nothing: it, or whoever stands in for it, may be asked again."""
        mine = self.turn[question.slot] == question.turn
        self.asked[question.slot[mine], question.branch[mine], question.expert] = False

    def still(self, question: Question) -> set[int]:
        """Slots of the images that wait for the answer, at the point they were asked about."""
        return set(question.slot[self.turn[question.slot] == question.turn].tolist())

    def _add(self, slot: Tensor, branch: Tensor, expert: int | Tensor, part: Tensor) -> None:
        self.total[slot, branch, : part.shape[1]] += part
        self.unheard[slot, branch, expert] = False

    def _remember(self, question: Question, part: Tensor, is_early: Tensor) -> None:
        mine = is_early & (self.turn[question.slot] == question.turn)
        for row in mine.nonzero().squeeze(1).tolist():
            slot, branch = int(question.slot[row]), int(question.branch[row])
            self.early[slot, branch, question.expert] = part[row].clone()

    def _catch_up(self) -> None:
        """Add what was heard early and has its turn now."""
        for slot, branch, expert in sorted(self.early):
            if not self.unheard[slot, branch, :expert].any():
                part = self.early.pop((slot, branch, expert))
                at = torch.tensor([slot], device=self.total.device)
                self._add(at, torch.full_like(at, branch), expert, part[None])
