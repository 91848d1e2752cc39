"""What an image costs: how often networks were asked for it, and what that is in FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.flops import router_flops
from router.ensemble import Routing

__all__ = ["Meter", "Work", "router_flops"]


class Meter:
    """Counts the work of an ensemble; give it as the ensemble's ``watch``."""

    def __init__(self) -> None:
        self._expert_rows = 0
        self._gate_rows = 0

    def __call__(self, routing: Routing) -> None:
        """Count one evaluation of a batch."""
        self._expert_rows += int((routing.weights > 0).sum())
        self._gate_rows += routing.num_gated

    def per_image(self, num_images: int) -> Work:
        """The mean over the images drawn meanwhile."""
        return Work(self._expert_rows / num_images, self._gate_rows / num_images)


@dataclass(frozen=True, slots=True)
class Work:
    """Network evaluations for one image, over all steps and both branches of guidance.

    Attributes:
        expert_evaluations: images pushed through an expert.
        gate_evaluations: images pushed through the gate.
    """

    expert_evaluations: float
    gate_evaluations: float

    def flops(self, expert_flops: float, gate_flops: float) -> float:
        """Floating-point operations for one image.

        Args:
            expert_flops: of one image's forward pass through an expert.
            gate_flops: of one image's forward pass through the gate; 0 for gates without a network.
        """
        return self.expert_evaluations * expert_flops + self.gate_evaluations * gate_flops
