"""What a simulation found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from orchestrator.simulator.faults import Cause
from orchestrator.simulator.pace import Pace
from orchestrator.simulator.world import World


@dataclass(slots=True)
class Tally:
    """Kept while the virtual clock runs.

    Attributes:
        ended_at: when the last job was done, or the simulation stopped; seconds.
        done: whether all jobs were.
        kept_steps: steps committed in the end, over all nodes.
        paid_s: time of all nodes that is paid.
        trained_s: time nodes spent on steps.
        lost_s: part of it spent on steps that had to be done again.
        recoveries: how often work had to begin again from a checkpoint, by cause.
    """

    ended_at: float = 0.0
    done: bool = False
    kept_steps: int = 0
    paid_s: float = 0.0
    trained_s: float = 0.0
    lost_s: float = 0.0
    recoveries: Counter[Cause] = field(default_factory=Counter)

    def stopped(self, pace: Pace, num_committed: int, at: float, num_nodes: int = 1) -> None:
        """Training ended, and what was not committed is lost."""
        trained_s = pace.trained_s(at)
        self.trained_s += num_nodes * trained_s
        self.lost_s += num_nodes * (trained_s - pace.kept_s(num_committed))

    def summary(self, world: World) -> dict[str, Any]:
        """The figures a person asks for."""
        useful_s = self.kept_steps * world.step_s
        return {
            "done": self.done,
            "days": self.ended_at / 86400,
            "cost": self.paid_s / 3600 * world.price_per_h,
            "work_lost": self.lost_s / self.trained_s if self.trained_s else None,
            "goodput": useful_s / self.paid_s if self.paid_s else 0.0,
            "progress": self.kept_steps / (world.num_islands * world.steps),
            "recoveries": {cause.value: self.recoveries[cause] for cause in Cause},
        }
