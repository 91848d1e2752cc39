"""The learning curve of a job, over all its interruptions."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from experts.engine import Stats


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the curve.

    Attributes:
        step: optimizer steps done.
        epoch: fencing epoch of the lease it was made under; a new one marks a restart.
        loss: mean over the last ``training.log_every_steps`` steps; at the job's end too, so that
            the last point may share steps with the one before.
        grad_norm: mean over the same steps, before clipping.
        samples_per_s: throughput since the last point.
    """

    step: int
    epoch: int
    loss: float
    grad_norm: float
    samples_per_s: float


class History:
    """All points so far, and the steps that the next one will average.

    Args:
        window: steps that a point averages.
        saved: what :meth:`as_json` gave earlier.
    """

    def __init__(self, window: int, saved: dict[str, Any] | None = None) -> None:
        saved = saved or {"points": [], "recent": []}
        self.points = [Point(**point) for point in saved["points"]]
        recent: Iterable[tuple[Tensor | float, Tensor | float]] = saved["recent"]
        self._recent = deque(recent, maxlen=window)

    def add(self, stats: Stats) -> None:
        """Take note of a step, without waiting for it to be computed."""
        self._recent.append((stats.loss, stats.grad_norm))

    def mark(self, step: int, epoch: int, samples_per_s: float) -> Point:
        """Add a point that averages the recent steps."""
        losses, norms = zip(*self._floats(), strict=True)
        point = Point(step, epoch, _mean(losses), _mean(norms), samples_per_s)
        self.points.append(point)
        return point

    @property
    def recent_loss(self) -> float:
        """Mean over the recent steps; NaN before the first."""
        return _mean([loss for loss, _ in self._floats()]) if self._recent else math.nan

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint: points and recent steps, exactly."""
        return {"points": [asdict(point) for point in self.points], "recent": self._floats()}

    def _floats(self) -> list[tuple[float, float]]:
        return [(float(loss), float(norm)) for loss, norm in self._recent]


def _mean(values: Sequence[float]) -> float:
    """Of the finite ones: a step that was passed over may have none; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
