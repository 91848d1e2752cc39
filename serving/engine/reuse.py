"""What the blocks of experts have added to images at earlier points, to be added once more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.flow import VelocityField
from experts.reuse import is_parted, velocity_again, velocity_anew
from serving.engine.branches import NUM_BRANCHES, rows_of
from serving.engine.hearing import Question

_NOBODY = -1


@dataclass(frozen=True, slots=True)
class Thrift:
    """What is reused between evaluations; as it stands nothing is.

    Attributes:
        blocks: evaluations of an image by an expert for which its blocks are asked once.
        change: of the image since then, relative to its length, beyond which they are asked sooner;
            inf for never.
        routes: evaluations of an image for which the router is asked once.
    """

    blocks: int = 1
    change: float = float("inf")
    routes: int = 1

    @property
    def told(self) -> str:
        """For the recipe of an image; "" where nothing is reused."""
        blocks = f"blocks {self.blocks}" if self.blocks > 1 else ""
        change = f"change {self.change:g}" if blocks and self.change < float("inf") else ""
        routes = f"routes {self.routes}" if self.routes > 1 else ""
        return ", ".join(filter(None, (blocks, change, routes)))


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
        is_known = self._is_known(question)
        said = torch.empty_like(question.x)
        for rows in (is_known.nonzero().squeeze(1), (~is_known).nonzero().squeeze(1)):
            if len(rows):
                part = question.x[rows], question.t[rows], rows_of(question.cond, rows)
                at = question.slot[rows], question.branch[rows]
                if is_known[rows[0]]:
                    added = self._added[tuple(question.x.shape[1:])][at]
                    said[rows] = velocity_again(field, *part, added)
                    self._num[at] += 1
                else:
                    said[rows], added = velocity_anew(field, *part)
                    self._note(question.expert, at, part[0], added)
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
