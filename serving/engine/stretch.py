"""Images that one expert draws alone for a while, moved where it is: at home or at its server.

Whoever moves them does so by the same arithmetic, on the same numbers: the points that both come to
are the same, to the bit where velocities are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.condition import Conditioning
from serving.engine.branches import NUM_BRANCHES, Branches, branches_of, guided
from serving.engine.slots import Slots
from serving.engine.thrift import THRIFTLESS, Thrift


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """B images at the beginning of a step each.

    Attributes:
        x: (B, C, H, W).
        cond: (B, ...); None without.
        step: that begins, from 0, (B,) int64.
        steps: of each image, (B,).
        reach: of its tableau, (B,).
        weight: of its tableau, (B,).
        guidance: (B,).
        evaluations: E, of each image.
        thrift: what is reused between them; its routes do not count.
    """

    x: Tensor
    cond: Tensor | None
    step: Tensor
    steps: Tensor
    reach: Tensor
    weight: Tensor
    guidance: Tensor
    evaluations: int
    thrift: Thrift = THRIFTLESS

    @property
    def num_rows(self) -> int:
        """R, of one evaluation: one for each image, and one more for each that is guided."""
        num_guided = 0 if self.cond is None else int((self.guidance != 1).sum())
        return len(self.x) + num_guided


class Moving:
    """The images of a stretch, on their way; on the CPU."""

    def __init__(self, stretch: Stretch, conditioning: Conditioning) -> None:
        """Stand at its beginning.

        Args:
            stretch: which.
            conditioning: knows how "no condition" looks.
        """
        num, *shape = stretch.x.shape
        channels, height, width = shape
        images = Slots.empty(num, ((channels, height, width),), conditioning, torch.device("cpu"))
        images.x[:] = images.at[:] = stretch.x.flatten(1)
        if images.cond is not None and stretch.cond is not None:
            images.cond[:] = stretch.cond
        images.step[:], images.steps[:] = stretch.step, stretch.steps
        images.t[:], images.dt[:] = images.times(images.step, images.steps)
        images.reach[:], images.weight[:] = stretch.reach, stretch.weight
        images.guidance[:] = stretch.guidance
        self._images, self._conditioning = images, conditioning
        self._every = torch.arange(num)
        self._rows = self._branches()

    @property
    def rows(self) -> Branches:
        """What is to be evaluated now."""
        return self._rows

    def move(self, velocity: Tensor) -> None:
        """Go on to the next point.

        Args:
            velocity: of the rows, (R, C, H, W).
        """
        images, rows = self._images, self._rows
        total = torch.zeros(len(self._every), NUM_BRANCHES, images.num_values)
        total[rows.slot, rows.branch] += velocity.flatten(1)
        images.advance(self._every, guided(total[:, 0], total[:, 1], images.guidance))
        self._rows = self._branches()

    def _branches(self) -> Branches:
        return branches_of(self._images, self._every, self._conditioning)
