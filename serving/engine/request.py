"""What the engine is asked for: some images, how they are drawn, and how urgent they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from atoll.flops import Shape
from router.selection import Selection


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are drawn.

    Attributes:
        solver: a name in :data:`serving.engine.tableau.TABLEAUX`.
        steps: of the solver, from noise to image.
        guidance: s of :mod:`router.guidance`; 1 is none, and costs half as much.
        selection: how the gate's opinion is followed.
    """

    solver: str
    steps: int
    guidance: float
    selection: Selection


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Some images that are drawn alike.

    Attributes:
        name: unique among all requests.
        seeds: one for each image; all of its randomness follows from it.
        cond: what each image is conditioned on, a row for each; None without a condition.
        sampling: how they are drawn.
        patience_s: after which its first image is overdue; the less, the more urgent.
        deadline_s: after which nobody wants it any more; inf for never. It is due by then.
        preview_every: steps from one preview to the next; 0 for none.
        exact: whether it is to fail where an expert cannot be had, rather than be drawn by the
            others.
        shape: channels, height and width of each image; None for the model's own.
    """

    name: str
    seeds: Sequence[int]
    cond: Tensor | None
    sampling: Sampling
    patience_s: float = 10.0
    deadline_s: float = field(default=math.inf)
    preview_every: int = 0
    exact: bool = False
    shape: Shape | None = None
