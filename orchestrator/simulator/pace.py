"""How training under one lease goes on, if nothing comes between: arithmetic in place of events."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """A trainer on its way from a committed step to the last.

    A checkpoint is taken every few steps and uploaded while training goes on; the next one waits
    until the upload before it has ended, and training waits with it.

    Attributes:
        begin: time of its first step, seconds.
        first: committed steps at the beginning.
        steps: steps until done; more than ``first``.
        every: steps between two checkpoints.
        step_s: one step of this trainer.
        upload_s: upload of one checkpoint.
        done_at: when the last checkpoint is uploaded.
        first_committed_at: when the first checkpoint is uploaded.
    """

    begin: float
    first: int
    steps: int
    every: int
    step_s: float
    upload_s: float
    done_at: float = field(init=False)
    first_committed_at: float = field(init=False)
    _num: int = field(init=False)
    _period_s: float = field(init=False)
    _last_taken_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Work out once what is asked for again and again."""
        self._num = math.ceil((self.steps - self.first) / self.every)
        self._period_s = max(self.every * self.step_s, self.upload_s)
        last_s = (self.steps - self.step(self._num - 1)) * self.step_s
        self._last_taken_at = self.begin + last_s
        if self._num > 1:
            before = self._taken_at(self._num - 1)
            self._last_taken_at = before + max(last_s, self.upload_s)
        self.done_at = self.committed_at(self._num)
        self.first_committed_at = self.committed_at(1)

    def step(self, num: int) -> int:
        """Steps in the ``num``-th checkpoint, counted from 1; ``first`` for 0."""
        return min(self.first + num * self.every, self.steps)

    def committed_at(self, num: int) -> float:
        """When the ``num``-th checkpoint is uploaded."""
        return round(self._taken_at(num) + self.upload_s, 6)

    def num_committed(self, at: float) -> int:
        """How many checkpoints are uploaded at a time."""
        if at >= self.done_at:
            return self._num
        # Rounded times are compared with rounded times: look half a microsecond ahead.
        return min(self._num_taken(at - self.upload_s + 5e-7), self._num - 1)

    def trained_s(self, at: float) -> float:
        """Time spent on steps until a time."""
        num = self._num_taken(at)
        since = at - (self._taken_at(num) if num else self.begin)
        left_s = (self.step(num + 1) - self.step(num)) * self.step_s
        return self.kept_s(num) + min(max(since, 0.0), left_s)

    def kept_s(self, num: int) -> float:
        """Time spent on the steps in the ``num``-th checkpoint."""
        return (self.step(num) - self.first) * self.step_s

    def _taken_at(self, num: int) -> float:
        if num < self._num:
            return self.begin + self.every * self.step_s + (num - 1) * self._period_s
        return self._last_taken_at

    def _num_taken(self, at: float) -> int:
        since_first_s = at - self.begin - self.every * self.step_s
        num = min(max(math.floor(since_first_s / self._period_s) + 1, 0), self._num - 1)
        return num + 1 if at >= self._last_taken_at else num
