"""What the first process of an island tells of its training: progress, curves, checkpoints."""

from __future__ import annotations

import logging
import math
import time

from torch import Tensor

from atoll.relay import Published, Speaker
from atoll.types import Progress
from experts.board import Board
from experts.cadence import Due
from experts.checkpointing import CheckpointWriter, Position, Saved
from experts.engine import Snapshot, Stats
from experts.guard import Guard
from experts.history import History
from experts.task import Task
from experts.workplace import Workplace

logger = logging.getLogger(__name__)


class Recorder:
    """Follows the steps of one job under one lease.

    Args:
        task: what is trained.
        at: where.
        start: the position before the first step.
        history: the curve up to there.
        board: for people to watch.
        guard: of its steps.
    """

    def __init__(
        self,
        task: Task,
        at: Workplace,
        start: Position,
        history: History,
        board: Board,
        *,
        guard: Guard,
    ) -> None:
        self._board, self._guard = board, guard
        self._spec, self._epoch = at.assignment.spec, at.assignment.lease.epoch
        self._history = history
        self._speaker = Speaker(at.work_dir)
        self._writer = CheckpointWriter(
            at.store, at.assignment, task.compat, task.about, at.work_dir
        )
        self._cursor, self._time = start.cursor, time.monotonic()
        self._loss = math.nan  # of the steps before the checkpoint that is being written

    def follow(
        self,
        position: Position,
        stats: Stats,
        due: Due,
        images: Tensor | None,
        snapshot: Snapshot | None,
    ) -> None:
        """Take note of a step, and tell what is due.

        Args:
            position: after the step.
            stats: of the step.
            due: after it; once leaving, this returns when the checkpoint is complete.
            images: drawn after it; None for none.
            snapshot: after it; None if none is due.
        """
        self._history.add(stats)
        if due.report:
            self._report(position)
        grid = None if images is None else self._board.show(images, position.step)
        self._announce(wait=False)
        if snapshot is not None:
            self._announce(wait=True)
            saved = Saved(snapshot, position, self._history.as_json(), self._guard.as_json())
            self._loss = self._history.recent_loss
            finished = position.step == self._spec.steps
            self._writer.begin(saved, grid if finished else None)
        if due.leaving:
            self.finish()

    def finish(self) -> None:
        """Return once the checkpoint that is being written is complete and told of."""
        self._announce(wait=True)

    def _report(self, position: Position) -> None:
        now = time.monotonic()
        samples_per_s = (position.cursor - self._cursor) / (now - self._time)
        self._cursor, self._time = position.cursor, now
        point = self._history.mark(position.step, self._epoch, samples_per_s)
        self._speaker.say(Progress(point.step, point.loss, point.samples_per_s))
        self._board.plot(point)

    def _announce(self, *, wait: bool) -> None:
        ref = self._writer.collect(wait=wait)
        if ref is not None:
            self._speaker.say(Published(ref, self._loss))
            logger.info("checkpoint uploaded", extra={"fields": {"key": ref.key}})
