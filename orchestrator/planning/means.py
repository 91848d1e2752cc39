"""With what a run shall be trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.gpus import Gpu
from orchestrator.planning.measured import Measured

ASSUMED_MFU = 0.40


@dataclass(frozen=True, slots=True)
class Means:
    """With what a run shall be trained.

    Attributes:
        gpu: kind of GPU.
        num_gpus: of a node.
        mfu: share of the peak that training reaches; None for a usual one.
        recompute: activations are computed again in the backward pass.
        lifetime_h: mean hours until a spot node is reclaimed; None to simulate none.
        bytes_per_s: at which an island moves checkpoints.
        paces: what the run has measured, by kind of job; the others go by the above.
        nodes: of an island.
    """

    gpu: Gpu
    num_gpus: int
    mfu: float | None = None
    recompute: bool = False
    lifetime_h: float | None = None
    bytes_per_s: float = 100e6
    paces: Mapping[str, Measured] = field(default_factory=dict)
    nodes: int = 1

    @property
    def island_gpus(self) -> int:
        """That train together."""
        return self.nodes * self.num_gpus
