"""What experts have said of points that images have not come to yet.

Where the router has an image heard by one expert alone, that is likely so for some steps. Such an
expert, if it is elsewhere, is asked to draw the image for a stretch: it says all velocities on the
way. The router is still asked at every point; what was said of it counts if it is the same expert's
turn alone, and is dropped otherwise. So images are what they would be, and the wire is crossed once
for many steps (speculation, as in Leviathan et al., arXiv 2211.17192, of the router's choice).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from router.rows import UNBOUND
from serving.engine.hearing import Hearing, Question
from serving.engine.slots import Slots
from serving.engine.stretch import Stretch
from serving.engine.thrift import Thrift

_FIRST = 2  # steps of the first stretch of an image


@dataclass(slots=True, eq=False)
class _Said:
    """Of one image's next points.

    Attributes:
        expert: who has said it.
        branch: of each row, (r,).
        velocity: (E, r, N).
        place: of what is said of the next point.
    """

    expert: int
    branch: Tensor
    velocity: Tensor
    place: int = 0

    @property
    def num_left(self) -> int:
        return (len(self.velocity) - self.place) * len(self.branch)


class Ahead:
    """For each of S slots."""

    def __init__(self, num_slots: int, most_steps: int, thrift: Thrift) -> None:
        """Nothing was said.

        Args:
            num_slots: S.
            most_steps: of an image in one stretch; 1 for none.
            thrift: what is reused within one.
        """
        self._most, self._thrift = most_steps, thrift
        self._length = [_FIRST] * num_slots  # of the next stretch, in steps
        self._limit = [most_steps] * num_slots  # of any, since one came to nothing
        self._said: dict[int, _Said] = {}
        self.unused = Counter[int]()  # rows that were evaluated in vain, by expert

    def begin(self, slot: int) -> None:
        """Another image has come there."""
        self._length[slot], self._limit[slot] = _FIRST, self._most
        self._drop(slot)

    def forget(self, slots: Tensor) -> None:
        """What was said is of no use."""
        if self._said:
            for slot in slots.tolist():
                self._drop(slot)

    def keep_only(self, slots: Container[int]) -> None:
        """Forget images that are drawn no more."""
        for slot in [slot for slot in self._said if slot not in slots]:
            self._drop(slot)

    def shorten(self, question: Question) -> None:
        """A stretch came to nothing: what is asked of its images next is half as long."""
        for slot in set(question.slot.tolist()):
            self._limit[slot] = max(1, min(self._limit[slot], self._length[slot]) // 2)

    def split(
        self, question: Question, images: Slots, hearing: Hearing
    ) -> Iterator[tuple[Question, Stretch | None]]:
        """Which images of a question an expert is to draw for a while.

        Args:
            question: about images of one shape.
            images: all slots.
            hearing: likewise.

        Returns:
            Parts of the question: with stretches, and without one about all other images.
        """
        groups = self._groups(question, images, hearing) if self._most > 1 else {}
        rest = torch.ones(len(question.slot), dtype=torch.bool, device=question.slot.device)
        for evaluations, slots in groups.items():
            mine = torch.isin(question.slot, slots)
            rest &= ~mine
            part = question.part(mine)
            yield part, _stretch(part, images, evaluations, self._thrift)
        if not groups:
            yield question, None
        elif rest.any():
            yield question.part(rest), None

    def keep(self, question: Question, velocity: Tensor, hearing: Hearing) -> None:
        """Remember what was said.

        Args:
            question: about the point before these.
            velocity: (E, R, C, H, W), of the next points.
            hearing: knows which images are still where they were asked about.
        """
        still = hearing.still(question)
        values = velocity.flatten(2)
        for slot in dict.fromkeys(question.slot.tolist()):
            if slot in still and len(values):
                rows = (question.slot == slot).nonzero().squeeze(1)
                said = _Said(question.expert, question.branch[rows], values[:, rows])
                self._said[slot] = said

    def hear(self, hearing: Hearing, slots: Tensor) -> Counter[int]:
        """Let images that were routed just now hear what was said of where they are.

        Args:
            hearing: of all slots.
            slots: those that were routed, (B,), of one shape.

        Returns:
            Rows that were heard, by the number of their expert.
        """
        rows = Counter[int]()
        if not self._said:
            return rows
        alone, heard = hearing.alone(slots).tolist(), list[tuple[int, _Said]]()
        for slot, expert in zip(slots.tolist(), alone, strict=True):
            said = self._said.get(slot)
            if said is None:
                continue
            if said.expert == expert:
                heard.append((slot, said))
            else:
                self._length[slot] = max(_FIRST, self._length[slot] // 2)
                self._drop(slot)
        if not heard:
            return rows
        sizes = torch.tensor([len(said.branch) for _, said in heard])
        hearing.add(
            slots.new_tensor([slot for slot, _ in heard]).repeat_interleave(sizes.to(slots.device)),
            torch.cat([said.branch for _, said in heard]),
            slots.new_tensor([said.expert for _, said in heard]).repeat_interleave(
                sizes.to(slots.device)
            ),
            torch.cat([said.velocity[said.place] for _, said in heard]),
        )
        for slot, said in heard:
            rows[said.expert] += len(said.branch)
            said.place += 1
            if said.place == len(said.velocity):
                self._length[slot] = min(2 * self._length[slot], self._most)
                del self._said[slot]
        return rows

    def _drop(self, slot: int) -> None:
        said = self._said.pop(slot, None)
        if said is not None:
            self.unused[said.expert] += said.num_left

    def _groups(self, question: Question, images: Slots, hearing: Hearing) -> dict[int, Tensor]:
        """Slots that can be drawn for a while, by the evaluations that this takes."""
        slots = question.slot[question.branch == 0]
        can = (hearing.alone(slots) == question.expert) & ~images.second[slots]
        bound = images.expert[slots] != UNBOUND
        left = (images.steps[slots] - images.step[slots]).long()
        twice = images.reach[slots] != 0
        groups: dict[int, list[int]] = {}
        rows = zip(*(each.tolist() for each in (slots, can, bound, left, twice)), strict=True)
        for slot, is_alone, is_bound, num_left, is_twice in rows:
            length = self._most if is_bound else self._length[slot]
            steps = min(length, self._limit[slot], num_left, self._most)
            if is_alone and steps > 1:
                self._length[slot] = steps
                groups.setdefault(steps * (2 if is_twice else 1), []).append(slot)
        return {evaluations: slots.new_tensor(its) for evaluations, its in groups.items()}


def _stretch(question: Question, images: Slots, evaluations: int, thrift: Thrift) -> Stretch:
    first = question.branch == 0
    slots = question.slot[first]
    return Stretch(
        x=question.x[first],
        cond=None if question.cond is None else question.cond[first],
        step=images.step[slots],
        steps=images.steps[slots],
        reach=images.reach[slots],
        weight=images.weight[slots],
        guidance=images.guidance[slots],
        evaluations=evaluations,
        thrift=thrift,
    )
