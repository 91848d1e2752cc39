"""The learning curve of a job, over all its interruptions."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from torch import Tensor

from atoll.types import Vitals
from experts.engine import Stats
from experts.watching.held_out import HeldOut
from experts.watching.meter import Reading


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the curve.

    Attributes:
        step: optimizer steps done.
        epoch: fencing epoch of the lease it was made under; a new one marks a restart.
        loss: mean over the last ``training.log_every_steps`` steps; at the job's end too, so that
            the last point may share steps with the one before.
        grad_norm: mean over the same steps, before clipping.
        held_out: loss on the samples held out, see :mod:`experts.watching.held_out`; None where it
            was not measured.
        held_out_by_time: the same, by quarters of the time from data to noise.

    The others are those of :class:`experts.watching.meter.Reading`, since the last point.
    """

    step: int
    epoch: int
    loss: float
    grad_norm: float
    samples_per_s: float
    tflops_per_s: float
    mfu: float | None
    memory_bytes: int
    wait_share: float
    held_out: float | None = None
    held_out_by_time: tuple[float, ...] = ()

    @property
    def curves(self) -> dict[str, float]:
        """What is known of it, by name of the curve."""
        names = ("loss", "grad_norm", "held_out", *(field.name for field in fields(Reading)))
        values = {name: getattr(self, name) for name in names}
        bins = {f"held_out/{number}": loss for number, loss in enumerate(self.held_out_by_time)}
        return {name: value for name, value in values.items() if value is not None} | bins


class History:
    """All points so far, and the steps that the next one will average.

    Args:
        window: steps that a point averages.
        saved: what :meth:`as_json` gave earlier.
    """

    def __init__(self, window: int, saved: dict[str, Any] | None = None) -> None:
        saved = saved or {"points": [], "recent": []}
        self.points = [_point(tree) for tree in saved["points"]]
        recent: Iterable[tuple[Tensor | float, Tensor | float]] = saved["recent"]
        self._recent = deque(recent, maxlen=window)

    def add(self, stats: Stats) -> None:
        """Take note of a step, without waiting for it to be computed."""
        self._recent.append((stats.loss, stats.grad_norm))

    def mark(
        self, step: int, epoch: int, reading: Reading, held_out: HeldOut | None = None
    ) -> Point:
        """Add a point that averages the recent steps."""
        losses, norms = zip(*self._floats(), strict=True)
        point = Point(step, epoch, _mean(losses), _mean(norms), **asdict(reading))
        if held_out is not None:
            point = replace(point, held_out=held_out.loss, held_out_by_time=held_out.by_time)
        self.points.append(point)
        return point

    @property
    def vitals(self) -> Vitals:
        """Those of the last point, with the loss on samples held out as it was measured last."""
        told = {field.name: getattr(self.points[-1], field.name) for field in fields(Vitals)}
        measured = (point.held_out for point in reversed(self.points) if point.held_out is not None)
        return Vitals(**{**told, "held_out": next(measured, None)})

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


def _point(tree: dict[str, Any]) -> Point:
    return Point(**{**tree, "held_out_by_time": tuple(tree["held_out_by_time"])})
