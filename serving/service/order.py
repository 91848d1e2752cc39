"""What a user asks for, in a user's words; the menu says whether it can be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from atoll.errors import BadInput
from atoll.image_size import Size

Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True, slots=True)
class Order:
    """Some images that are drawn alike. What is None goes by the run's ``[sampling]``.

    Attributes:
        wanted: classes by name or number, or prompts; images take them in turn. Empty asks for
            every class in turn, or for images without a prompt.
        num: how many images.
        seed: of the first image, the next is one more; None draws it.
        size: one of the model's; None is its first.
        solver: how the flow is integrated.
        steps: of the solver.
        guidance: 1 is none.
        strategy: how experts are selected.
        previews: how often an unfinished image is shown, at most.
        priority: how urgent it is.
        deadline_s: after which nobody wants it any more; None is never.
        exact: whether it is to fail where an expert cannot be had, rather than be drawn by the
            others.
    """

    wanted: tuple[str, ...] = ()
    num: int = 1
    seed: int | None = None
    size: Size | None = None
    solver: str | None = None
    steps: int | None = None
    guidance: float | None = None
    strategy: str | None = None
    previews: int = 0
    priority: Priority = "normal"
    deadline_s: float | None = None
    exact: bool = False


class Unusable(BadInput):
    """An order that cannot be had.

    Attributes:
        field: because of which, in a user's words.
    """

    def __init__(self, message: str, field: str) -> None:
        """Say so in a sentence."""
        super().__init__(message)
        self.field = field
