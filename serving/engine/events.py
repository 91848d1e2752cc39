"""What becomes of a request, as it is told while it happens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Progress:
    """An image has made a step.

    Attributes:
        position: of the image in its request.
        step: how many are done.
        steps: how many there are.
        weights: of each expert in this step, K numbers that sum to 1.
        without: experts that could not be had in it; the others have shared their weight.
    """

    position: int
    step: int
    steps: int
    weights: tuple[float, ...]
    without: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What an image would become from here, (C, H, W), about [-1, 1]."""

    position: int
    step: int
    image: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """An image is there, (C, H, W), about [-1, 1]."""

    position: int
    image: Tensor


@dataclass(frozen=True, slots=True)
class Done:
    """All images of the request are there. Nothing follows."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request has no result. Nothing follows.

    Attributes:
        reason: why, in words.
        is_fault: whether what draws may be to blame; not where it was cancelled, or late.
        is_without: whether an expert could not be had that may be there again later.
    """

    reason: str
    is_fault: bool = True
    is_without: bool = False


Event = Progress | Preview | Painted | Done | Failed
