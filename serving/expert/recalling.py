"""Experts that add to the rows of a stretch what their blocks have added to them before.

Source: see :mod:`experts.reuse`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experts.flow import VelocityField
from experts.reuse import is_parted, velocity_partly
from serving.engine.thrift import Thrift
from serving.expert.evaluator import Given
from serving.expert.served import ServedExpert


@dataclass(slots=True, eq=False)
class _Added:
    """To one row.

    Attributes:
        tokens: what its blocks have added, (N, D).
        x: the row they were asked about, (C, H, W).
        num: evaluations for which it counted, with that one.
    """

    tokens: Tensor
    x: Tensor
    num: int = 1


class Recalling:
    """See :class:`serving.expert.evaluator.Remembering`. For the thread that evaluates alone."""

    def __init__(self, field: VelocityField) -> None:
        """Nothing was added.

        Args:
            field: see :func:`experts.reuse.is_parted`.
        """
        self._field = field
        self._added: dict[int, _Added] = {}

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """Of rows that do not come again."""
        return self._field(x_t, t, cond)

    def heeds(self, thrift: Thrift) -> bool:
        """See :class:`serving.expert.evaluator.Remembering`."""
        return thrift.blocks > 1

    def again(self, given: Given, rows: tuple[int, ...], thrift: Thrift) -> Tensor:
        """Of rows that do."""
        x_t = given[0]
        known = [self._counts(row, x, thrift) for row, x in zip(rows, x_t, strict=True)]
        before = [added for added in known if added is not None]
        again = torch.tensor([added is not None for added in known], device=x_t.device)
        tokens = torch.stack([added.tokens for added in before]) if before else None
        velocity, added_now = velocity_partly(self._field, *given, again, tokens)
        for added in before:
            added.num += 1
        if added_now is not None:
            others = [row for row, added in zip(rows, known, strict=True) if added is None]
            for row, tokens_of, x in zip(others, added_now, x_t[~again], strict=True):
                self._added[row] = _Added(tokens_of.clone(), x.clone())
        return velocity

    def forget(self, rows: tuple[int, ...]) -> None:
        """These come no more."""
        for row in rows:
            self._added.pop(row, None)

    def _counts(self, row: int, x: Tensor, thrift: Thrift) -> _Added | None:
        """What was added to a row, if it still counts."""
        added = self._added.get(row)
        if added is None or added.num >= thrift.blocks:
            return None
        if thrift.change < math.inf and (x - added.x).norm() > thrift.change * added.x.norm():
            return None
        return added


def recalling(experts: Sequence[ServedExpert]) -> list[ServedExpert]:
    """The same experts; those whose networks have such parts may reuse what blocks have added."""
    return [each.by(Recalling(each.field)) if is_parted(each.field) else each for each in experts]
