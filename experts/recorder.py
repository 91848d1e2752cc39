"""What the first process of an island tells of its training: progress, curves, checkpoints."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from torch import Tensor

from atoll.relay import Published, Speaker
from atoll.types import Progress
from experts.cadence import Due
from experts.checkpointing import CheckpointWriter, Position, Saved
from experts.engine import Snapshot, Stats
from experts.guard import Guard
from experts.task import Task
from experts.watching.board import Board
from experts.watching.held_out import HeldOut
from experts.watching.history import History
from experts.watching.meter import Reading
from experts.watching.tracing import Tracer
from experts.workplace import Workplace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known after a step; None for what is not due.

    Attributes:
        reading: of the meter.
        held_out: loss of the averaged weights on the samples held out.
        images: that they have drawn.
        snapshot: to go on from.
    """

    reading: Reading | None
    held_out: HeldOut | None
    images: Tensor | None
    snapshot: Snapshot | None


class Recorder:
    """Follows the steps of one job under one lease.

    Args:
        task: what is trained.
        at: where.
        history: the curve up to there.
        board: for people to watch.
        guard: of its steps.
    """

    def __init__(
        self, task: Task, at: Workplace, history: History, board: Board, guard: Guard
    ) -> None:
        self._board, self._guard = board, guard
        self._spec, self._epoch = at.assignment.spec, at.assignment.lease.epoch
        self._history = history
        self._speaker = Speaker(at.work_dir)
        self._tracer = Tracer(at, self._speaker)
        self._writer = CheckpointWriter(
            at.store, at.assignment, task.compat, task.about, at.work_dir
        )
        self._loss = math.nan  # of the steps before the checkpoint that is being written

    def follow(self, position: Position, stats: Stats, due: Due, found: Findings) -> None:
        """Take note of a step, and tell what is due.

        Args:
            position: after the step.
            stats: of the step.
            due: after it; once leaving, this returns when the checkpoint is complete.
            found: after it.
        """
        self._history.add(stats)
        if found.reading is not None:
            self._report(position, found.reading, found.held_out)
        grid = None if found.images is None else self._board.show(found.images, position.step)
        self._announce(wait=False)
        if found.snapshot is not None:
            self._announce(wait=True)
            saved = Saved(found.snapshot, position, self._history.as_json(), self._guard.as_json())
            self._loss = self._history.recent_loss
            finished = position.step == self._spec.steps
            self._writer.begin(saved, grid if finished else None)
        if due.leaving:
            self.finish()  # before a trace is sent, for which there may be no time
        self._tracer.follow(position.step, leaving=due.leaving)

    def finish(self) -> None:
        """Return once the checkpoint that is being written is complete and told of."""
        self._announce(wait=True)

    def _report(self, position: Position, reading: Reading, held_out: HeldOut | None) -> None:
        point = self._history.mark(position.step, self._epoch, reading, held_out)
        vitals = self._history.vitals
        self._speaker.say(Progress(point.step, point.loss, point.samples_per_s, vitals=vitals))
        self._board.plot(point)

    def _announce(self, *, wait: bool) -> None:
        ref = self._writer.collect(wait=wait)
        if ref is not None:
            self._speaker.say(Published(ref, self._loss))
            logger.info("checkpoint uploaded", extra={"fields": {"key": ref.key}})
