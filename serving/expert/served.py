"""An expert that is served, and what it can be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atoll.errors import BadInput
from atoll.flops import Shape
from experts.condition import Conditioning
from experts.flow import VelocityField


@dataclass(frozen=True, slots=True, eq=False)
class ServedExpert:
    """One expert of one checkpoint.

    Attributes:
        number: of the expert.
        checkpoint: digest.
        field: its velocity.
        conditioning: what it is to be told.
        shapes: that its rows may have, channels, height and width.
    """

    number: int
    checkpoint: str
    field: VelocityField
    conditioning: Conditioning
    shapes: tuple[Shape, ...]

    def by(self, field: VelocityField) -> ServedExpert:
        """The same, of which another field tells the velocity."""
        return replace(self, field=field)

    def check(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> None:
        """Refuse rows that it cannot take: what is wrong with them would harm others beside them.

        Raises:
            BadInput: says what is expected.
        """
        if x_t.dim() != 4 or tuple(x_t.shape[1:]) not in self.shapes or len(x_t) == 0:
            known = " or ".join("x".join(map(str, shape)) for shape in self.shapes)
            raise BadInput(f"x_t has shape {tuple(x_t.shape)}; send rows of {known}")
        if t.shape != x_t.shape[:1] or not bool(((t >= 0) & (t <= 1)).all()):
            raise BadInput(f"t has shape {tuple(t.shape)}; send a time in [0, 1] for each row")
        self.conditioning.check(cond)
        if cond is not None and len(cond) != len(x_t):
            raise BadInput(f"there are {len(cond)} conditions for {len(x_t)} rows")
        if cond is not None and cond.is_floating_point() and not bool(torch.isfinite(cond).all()):
            raise BadInput("a condition is not finite")
