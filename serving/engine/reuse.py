"""What the blocks of experts have added to images at earlier points, to be added once more."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.flow import VelocityField
from experts.reuse import is_parted, velocity_partly
from serving.engine.branches import NUM_BRANCHES
from serving.engine.hearing import Question
from serving.engine.thrift import Thrift

_NOBODY = -1


class Reuse:
    """For each of S slots and its two branches, of one expert; another one begins anew."""

    def __init__(self, num_slots: int, thrift: Thrift, device: torch.device) -> None:
        """Nothing was added.

        Args:
            num_slots: S.
            thrift: how long what was added counts.
            device: of the images.
        """
        self._thrift = thrift
        whole = torch.zeros(num_slots, NUM_BRANCHES, dtype=torch.int64, device=device)
        self._expert, self._num = whole + _NOBODY, whole
        self._added: dict[tuple[int, ...], Tensor] = {}  # (S, 2, N, D), of images of one shape
        self._then: dict[tuple[int, ...], Tensor] = {}  # their points, (S, 2, C, H, W)

    def forget(self, slots: Tensor) -> None:
        """Begin these images anew."""
        self._expert[slots] = _NOBODY

    def velocity(self, field: VelocityField, question: Question) -> Tensor:
        """What an expert says, (R, C, H, W)."""
        if self._thrift.blocks == 1 or not is_parted(field):
            return field(question.x, question.t, question.cond)
        known, slot, branch = self._is_known(question), question.slot, question.branch
        before = None
        if known.any():
            added_before = self._added[tuple(question.x.shape[1:])]
            before = added_before[slot[known], branch[known]]
        asked = question.x, question.t, question.cond
        said, added = velocity_partly(field, *asked, known, before)
        self._num[slot[known], branch[known]] += 1
        if added is not None:
            at = slot[~known], branch[~known]
            self._note(question.expert, at, question.x[~known], added)
        return said

    def _is_known(self, question: Question) -> Tensor:
        at = question.slot, question.branch
        is_known = (self._expert[at] == question.expert) & (self._num[at] < self._thrift.blocks)
        then = self._then.get(tuple(question.x.shape[1:]))
        if then is not None:
            before = then[at].flatten(1)
            change = (question.x.flatten(1) - before).norm(dim=1) / before.norm(dim=1)
            is_known &= change <= self._thrift.change
        return is_known

    def _note(self, expert: int, at: tuple[Tensor, Tensor], x: Tensor, added: Tensor) -> None:
        self._expert[at], self._num[at] = expert, 1
        shape, places = tuple(x.shape[1:]), self._expert.shape
        if shape not in self._added:
            self._added[shape] = added.new_zeros(*places, *added.shape[1:])
        self._added[shape][at] = added
        if self._thrift.change < float("inf"):
            if shape not in self._then:
                self._then[shape] = x.new_zeros(*places, *shape)
            self._then[shape][at] = x
