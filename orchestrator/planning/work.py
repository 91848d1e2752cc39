"""What has to be trained, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.config import Config
from atoll.flops import TRAINING
from orchestrator.planning.networks import Network
from orchestrator.planning.subject import Subject

_FP32 = 4  # bytes
_RECOMPUTING = (TRAINING + 1) / TRAINING  # one forward pass more


@dataclass(frozen=True, slots=True)
class Part:
    """Jobs of one kind.

    Attributes:
        name: expert, monolith or router.
        count: how many there are.
        network: what each trains.
        batch: images of a step of one.
        steps: of each.
        num_averages: of the weights, that each keeps.
    """

    name: str
    count: int
    network: Network
    batch: int
    steps: int
    num_averages: int = 1

    @property
    def checkpoint_bytes(self) -> int:
        """Of a checkpoint of one job: weights, AdamW's two moments and averages, in float32."""
        return (3 + self.num_averages) * _FP32 * self.network.parameters

    @property
    def step_flops(self) -> int:
        """Operations of one step of one job."""
        return TRAINING * self.batch * self.network.forward_flops

    @property
    def flops(self) -> int:
        """Operations of all steps of one job."""
        return self.steps * self.step_flops


@dataclass(frozen=True, slots=True)
class Pace:
    """What an island does in a second.

    Attributes:
        num_gpus: of an island.
        peak: operations per second of one at best.
        mfu: share of the peak that training reaches, by operations that ``Part`` counts.
        recompute: activations are computed twice, which those do not count.
    """

    num_gpus: int
    peak: float
    mfu: float
    recompute: bool = False

    def seconds(self, flops: int) -> float:
        """Time of an island for so many operations."""
        longer = _RECOMPUTING if self.recompute else 1.0
        return longer * flops / (self.num_gpus * self.peak * self.mfu)


def parts_of(config: Config, subject: Subject, *, monolith: bool) -> tuple[Part, ...]:
    """The jobs of a run; the batch is divided evenly, and rounded up, among its experts."""
    training, num_experts = config.training, config.partition.num_experts
    batch = -(-training.batch_size // num_experts)
    rest = (training.steps, training.num_averages)
    parts = [Part("expert", num_experts, subject.expert, batch, *rest)]
    if monolith:
        parts.append(Part("monolith", 1, subject.expert, training.batch_size, *rest))
    own = config.router
    parts.append(Part("router", 1, subject.router, own.batch_size, own.steps))
    return tuple(parts)


def days_of(parts: Sequence[Part], step_s: Mapping[str, float], num_islands: int) -> float:
    """From first step to last: experts and monolith as islands get free, then the router.

    Args:
        parts: all of them.
        step_s: seconds of a step of each, by its name.
        num_islands: that train.
    """
    taken_s = {part.name: part.steps * step_s[part.name] for part in parts}
    num_experts, expert_s = parts[0].count, taken_s["expert"]
    experts_s = -(-num_experts // num_islands) * expert_s
    monolith_s = num_experts // num_islands * expert_s + taken_s.get("monolith", 0.0)
    return (max(experts_s, monolith_s) + taken_s["router"]) / 86400
