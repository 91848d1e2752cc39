"""The end of a training whose numbers are no numbers any more."""

from __future__ import annotations

import math

import torch

from atoll.errors import ConfigError
from atoll.sections import TrainingSection
from atoll.types import JobSpec, Role
from experts.cadence import Due
from experts.engine import Engine, Stats


class Divergence:
    """Follows the steps of one process, and refuses to go on from a loss that is not finite.

    Every process of an island has the same numbers, so all of them end at the same step without
    asking each other. They are looked at where others wait for the device anyway.

    Args:
        spec: the job.
        training: how it is trained.
    """

    def __init__(self, spec: JobSpec, training: TrainingSection) -> None:
        self._spec, self._training = spec, training
        self._unseen: list[tuple[int, Stats]] = []

    def follow(self, step: int, stats: Stats, engine: Engine, due: Due) -> None:
        """Take note of a step; where a report, a grid or a checkpoint is due, look at all of them.

        Args:
            step: counted from 1.
            stats: of the step.
            engine: whose weights are to be finite before they are saved.
            due: after the step.

        Raises:
            ConfigError: something is not finite; names job, step and keys.
        """
        self._unseen.append((step, stats))
        if due.anything:
            self._look()
        if due.checkpoint and not engine.all_finite():
            self._refuse(step, "a weight is no finite number")

    def _look(self) -> None:
        pairs = [torch.stack((stats.loss, stats.grad_norm)) for _, stats in self._unseen]
        values: list[list[float]] = torch.stack(pairs).tolist()  # fetched all at once
        for (step, _), numbers in zip(self._unseen, values, strict=True):
            for name, value in zip(("loss", "gradient"), numbers, strict=True):
                if not math.isfinite(value):
                    self._refuse(step, f"the {name} is {value}")
        self._unseen.clear()

    def _refuse(self, step: int, what: str) -> None:
        section = "router" if self._spec.role is Role.ROUTER else "training"
        raise ConfigError(
            f"{self._spec.name} diverged: at step {step} {what}; lower {section}.learning_rate = "
            f"{self._training.learning_rate:g} or raise training.warmup_steps, and give that "
            "run a run.uri of its own"
        )
