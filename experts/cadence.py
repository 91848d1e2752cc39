"""What is due after a step; every process of an island comes to the same."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.training_section import TrainingSection


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done after a step.

    Attributes:
        report: a point of the curve.
        held_out: the loss on the samples held out, as part of that point.
        grid: images to look at.
        checkpoint: to go on from.
        leaving: no step follows.
    """

    report: bool
    held_out: bool
    grid: bool
    checkpoint: bool
    leaving: bool

    @property
    def anything(self) -> bool:
        """Whether somebody waits for the device anyway."""
        return self.report or self.grid or self.checkpoint


def due_after(step: int, training: TrainingSection, num_steps: int, *, drained: bool) -> Due:
    """What is due.

    Args:
        step: counted from 1.
        training: how often.
        num_steps: of the job.
        drained: whether to leave after this step, done or not.
    """
    finished = step == num_steps
    leaving = finished or drained
    held_out = finished or step % training.held_out_every_steps == 0
    held_out = held_out and training.held_out > 0
    return Due(
        report=finished or held_out or step % training.log_every_steps == 0,
        held_out=held_out,
        grid=finished or step % training.grid_every_steps == 0,
        checkpoint=leaving or step % training.checkpoint_every_steps == 0,
        leaving=leaving,
    )
