"""Steps that went wrong: the end of a training, a gap in it, or a way back."""

from __future__ import annotations

import math

import torch

from atoll.errors import ConfigError, Leapt
from atoll.relay import Overcame, Speaker
from atoll.training_section import TrainingSection
from atoll.types import IncidentKind, JobSpec, Role
from experts.cadence import Due
from experts.checkpointing import Position
from experts.engine import Engine, Stats

_MOST_SKIPPED = 20  # in a row: no odd sample is to blame any more
_MOST_NAMED = 5


class Divergence:
    """Follows the steps of one process, and does as ``training.on_spike`` says with odd ones.

    Every process of an island has the same numbers, so all of them come to the same at the same
    step without asking each other. They are looked at where others wait for the device anyway.

    Args:
        spec: the job.
        training: how it is trained.
        speaker: to the agent, of the process that speaks for all; None for the others.
    """

    def __init__(
        self, spec: JobSpec, training: TrainingSection, speaker: Speaker | None = None
    ) -> None:
        self._spec, self._training, self._speaker = spec, training, speaker
        self._unseen: list[tuple[int, Stats]] = []
        self._skipped = 0  # in a row

    def follow(self, position: Position, stats: Stats, engine: Engine, due: Due) -> None:
        """Take note of a step; where a report, a grid or a checkpoint is due, look at all of them.

        Args:
            position: after the step.
            stats: of the step.
            engine: whose weights are to be finite before they are saved.
            due: after the step.

        Raises:
            ConfigError: something is not finite, or too many steps were skipped; names job, step
                and keys.
            Leapt: training is to go back.
        """
        self._unseen.append((position.step, stats))
        if due.anything and (odd := self._look()):
            self._mend(odd, position)
        if due.checkpoint and not engine.all_finite():
            self._refuse(position.step, "a weight is no finite number")

    def _look(self) -> list[str]:
        """What went wrong since the last look, in words."""
        rows = [
            torch.stack((stats.loss, stats.grad_norm, _taken(stats))) for _, stats in self._unseen
        ]
        told: list[list[float]] = torch.stack(rows).tolist()  # fetched all at once
        odd = []
        for (step, _), (loss, norm, taken) in zip(self._unseen, told, strict=True):
            what = f"at step {step} the loss is {loss:.4g} and the gradient {norm:.4g}"
            if self._training.on_spike == "stop":
                self._refuse_infinite(step, loss, norm)
            self._skipped = 0 if taken else self._skipped + 1
            if self._skipped == _MOST_SKIPPED:
                self._refuse(step, f"{_MOST_SKIPPED} steps in a row went wrong")
            odd += [] if taken else [what]
        self._unseen.clear()
        return odd

    def _mend(self, odd: list[str], position: Position) -> None:
        more = f", and {len(odd) - _MOST_NAMED} more" if len(odd) > _MOST_NAMED else ""
        words = ", ".join(odd[:_MOST_NAMED]) + more
        if self._training.on_spike == "rollback":
            raise Leapt(f"{self._spec.name} leapt: {words}", position.cursor)
        if self._speaker:
            self._speaker.say(Overcame(IncidentKind.SKIPPED, f"passed over: {words}"))

    def _refuse_infinite(self, step: int, loss: float, norm: float) -> None:
        for name, value in (("loss", loss), ("gradient", norm)):
            if not math.isfinite(value):
                self._refuse(step, f"the {name} is {value}")

    def _refuse(self, step: int, what: str) -> None:
        section = "router" if self._spec.role is Role.ROUTER else "training"
        raise ConfigError(
            f"{self._spec.name} diverged: at step {step} {what}; lower {section}.learning_rate = "
            f"{self._training.learning_rate:g} or raise training.warmup_steps, and give that "
            "run a run.uri of its own"
        )


def _taken(stats: Stats) -> torch.Tensor:
    return torch.ones_like(stats.loss) if stats.taken is None else stats.taken.to(stats.loss.dtype)
