"""The train loop: one for experts, monolith and router."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from atoll.beats import Phase
from atoll.errors import Leapt
from atoll.relay import Speaker
from experts import checkpointing
from experts.cadence import due_after
from experts.checkpointing import Position
from experts.divergence import Divergence
from experts.engine import Engine
from experts.engines import engine_for
from experts.guard import Guard
from experts.recorder import Findings, Recorder
from experts.task import Examples, Task
from experts.watching.board import Board
from experts.watching.canvas import open_canvas
from experts.watching.held_out import Examination, HeldOut
from experts.watching.history import History
from experts.watching.meter import Meter
from experts.workplace import Workplace
from partition.batch import Batch

_AHEAD = 2  # steps whose examples are made before they are needed
_LENDING = 64  # samples whose captions the grids are asked for

logger = logging.getLogger(__name__)


class Samples(Protocol):
    """What examples are made from; see :class:`partition.reader.ShardReader`."""

    def batch(self, cursor: int, size: int, rank: int, world: int) -> Batch:
        """One process's rows of the batch that begins after ``cursor`` samples."""
        ...

    def held_out(self) -> tuple[Batch, ...]:
        """The samples that no batch holds, bucket by bucket."""
        ...


def train(task: Task, samples: Samples, at: Workplace) -> bool:
    """Train until all steps are done or the island is drained; leave a checkpoint either way.

    Args:
        task: what to train.
        samples: what to learn from.
        at: where.

    Returns:
        Whether all steps are done.

    Raises:
        ConfigError: the processes of the island cannot share the job so; or the training diverged,
            and nothing of that reaches a checkpoint.
        BadInput: what ``training.board`` names cannot be used.
        Leapt: the training did, and shall go back to its last checkpoint.
        CheckpointDamaged: the checkpoint to go on from is not what was written.
        StorageFull: no space left for a checkpoint.
    """
    engine = engine_for(task, at)
    saved = checkpointing.load(at.store, at.assignment, at.work_dir / "cache")
    history = History(task.training.log_every_steps, saved.history if saved else None)
    guard = Guard(task.training, at.device, saved.guard if saved else None)
    start = saved.position if saved else Position()
    position = start = start.beyond(at.assignment.passed)
    num_steps = at.assignment.spec.steps
    speaker = Speaker(at.work_dir) if at.mesh.rank == 0 else None
    divergence = Divergence(at.assignment.spec, task.training, speaker)
    judge = None if task.training.on_spike == "stop" else guard.judge
    lending = samples.batch(0, _LENDING, 0, 1)  # the same after every restart
    examined = None
    if task.training.held_out:
        examined = Examination(task, samples.held_out(), at.device, at.mesh)
    if saved:
        engine.restore(saved.snapshot)
        logger.info("goes on", extra={"fields": {"step": start.step}})
    with _recorder(task, at, start, history, guard) as recorder:
        meter = Meter(task, at.device, at.mesh.layout.num, start.cursor)
        for position, examples in _upcoming(task, samples, at, start, num_steps, meter=meter):
            micro_batches = examples.to(at.device).split(task.training.accumulation)
            stats = engine.step(micro_batches, judge)
            due = due_after(position.step, task.training, num_steps, drained=at.drain())
            divergence.follow(position, stats, engine, due)
            with at.pulse.during(Phase.GRID):
                found = Findings(
                    reading=meter.read(position.cursor) if due.report else None,
                    held_out=_measured(engine, examined) if due.held_out else None,
                    images=_drawn(task, engine, lending) if due.grid else None,
                    snapshot=engine.snapshot() if due.checkpoint else None,
                )
            with at.pulse.during(Phase.CHECKPOINT):
                if recorder is not None:
                    recorder.follow(position, stats, due, found)
            at.pulse.stepped(position.step)
            if due.leaving:
                break
        at.pulse.end()
    return position.step >= num_steps


def _upcoming(
    task: Task, samples: Samples, at: Workplace, start: Position, num_steps: int, *, meter: Meter
) -> Iterator[tuple[Position, Examples]]:
    """The examples of each step and the position after it, made ahead by a thread of its own."""
    size, place = task.training.batch_size, at.mesh.rows

    def make(before: Position) -> Examples:
        batch = samples.batch(before.cursor, size, place.rank, place.world)
        examples = task.examples(batch, before.step + 1, place)
        return examples.pinned() if at.device.type == "cuda" else examples

    ahead: deque[tuple[Position, Future[Examples]]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="examples") as thread:
        position = start
        while ahead or position.step < num_steps:
            while len(ahead) <= _AHEAD and position.step < num_steps:
                before, position = position, position.after(size)
                ahead.append((position, thread.submit(make, before)))
            after, examples = ahead.popleft()
            with meter.waiting():
                made = examples.result()
            yield after, made


def _measured(engine: Engine, examined: Examination | None) -> HeldOut | None:
    return engine.with_average(examined, everywhere=True) if examined else None


def _drawn(task: Task, engine: Engine, lending: Batch) -> Tensor | None:
    with torch.no_grad():
        return engine.with_average(lambda network: task.grid(network, lending))


@contextlib.contextmanager
def _recorder(
    task: Task, at: Workplace, start: Position, history: History, guard: Guard
) -> Iterator[Recorder | None]:
    if at.mesh.rank != 0:
        yield None
        return
    # One process writes a checkpoint whole, as torch says with every one.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")
    with open_canvas(task.training.board, at.assignment, start.step) as canvas:
        recorder = Recorder(task, at, history, Board(canvas, at.decode), guard)
        try:
            yield recorder
        except Leapt:  # goes back to the newest there is
            recorder.finish()
            raise
