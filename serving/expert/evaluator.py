"""The thread that evaluates the rows of all callers, in batches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from atoll.clock import Clock
from atoll.errors import Busy
from serving.engine.alone import row_by_row
from serving.engine.shortage import BatchRows, is_shortage
from serving.engine.thrift import THRIFTLESS, Thrift
from serving.expert.served import ServedExpert

_log = logging.getLogger(__name__)

Given = tuple[Tensor, Tensor, Tensor | None]  # image, time and condition

_REMEMBERED = 0.2  # of the newest batch, in the measured speed


@runtime_checkable
class Remembering(Protocol):
    """A velocity field that makes use of what it said of the same rows before."""

    def heeds(self, thrift: Thrift) -> bool:
        """Whether it makes anything of rows that come again and are to be drawn so."""
        ...

    def again(self, given: Given, rows: tuple[int, ...], thrift: Thrift) -> Tensor:
        """The velocity of rows that come again.

        Args:
            given: image, time and condition, see :class:`experts.flow.VelocityField`.
            rows: a number of its own for each.
            thrift: how long what was said before counts.
        """
        ...

    def forget(self, rows: tuple[int, ...]) -> None:
        """These come no more."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of some rows.

    Attributes:
        velocity: (B, C, H, W); None where they were not evaluated.
        is_late: whether that is because it was too late for them.
        reason: why it is otherwise, in words.
        waited_s: until their batch began.
        evaluated_s: of their batch.
    """

    velocity: Tensor | None
    is_late: bool = False
    reason: str = ""
    waited_s: float = 0.0
    evaluated_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Rows of one caller.

    Attributes:
        expert: whom they are for.
        x_t: (B, C, H, W).
        t: (B,).
        cond: (B, ...); None without.
        row_by_row: whether each is to be evaluated by itself.
        arrived_at: by the clock of the evaluator.
        due_at: after which nobody wants them; inf for never.
        answer: is told what became of them, once, in any thread; it must not block.
        rows: numbers by which they come again, for a field that remembers; None if they do not.
        thrift: how long it may go by what it said before.
        is_wanted: whether anybody waits for the answer.
    """

    expert: ServedExpert
    x_t: Tensor
    t: Tensor
    cond: Tensor | None
    row_by_row: bool
    arrived_at: float
    due_at: float
    answer: Callable[[Answered], None]
    rows: tuple[int, ...] | None = None
    thrift: Thrift = THRIFTLESS
    is_wanted: Callable[[], bool] = lambda: True

    def goes_with(self, other: Asked) -> bool:
        """Whether both can share a batch."""
        return (
            self.expert is other.expert
            and self.row_by_row == other.row_by_row
            and self.x_t.shape[1:] == other.x_t.shape[1:]
            and (self.rows is None) == (other.rows is None)
            and (self.rows is None or self.thrift == other.thrift)
        )


class Evaluator:
    """First come, first served; who can share the batch of the first goes with it."""

    def __init__(
        self, batch_rows: int, queue_rows: int, device: torch.device, clock: Clock
    ) -> None:
        """Evaluate nothing yet.

        Args:
            batch_rows: of one batch, at most.
            queue_rows: that may wait, at most.
            device: of the experts.
            clock: for deadlines and speed.
        """
        self.batch_rows, self.queue_rows = batch_rows, queue_rows
        self._device, self._clock = device, clock
        self._rows = BatchRows(batch_rows, clock)
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[Asked] = deque()
        self._num_waiting, self._num_at_work = 0, 0
        self._speed: dict[int, float] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="evaluating", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, asked: Asked) -> None:
        """Have rows evaluated. Raises: Busy, as many wait as may."""
        num_rows = len(asked.x_t)
        with self._changed:
            self.refuse_beyond(num_rows)
            self._num_waiting += num_rows
            self._waiting.append(asked)
            self._changed.notify_all()

    def refuse_beyond(self, num_rows: int) -> None:
        """Refuse rows for which there is no room now. Raises: Busy."""
        with self._changed:
            if self._num_waiting + num_rows > self.queue_rows:
                raise Busy(
                    f"{self._num_waiting} rows wait, and there is room for {self.queue_rows}"
                )

    @property
    def num_waiting(self) -> int:
        """Rows that wait, or are evaluated now."""
        with self._changed:
            return self._num_waiting + self._num_at_work

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def speed(self, expert: int) -> float:
        """Rows of an expert in a second of evaluation, lately; 0 before the first."""
        with self._changed:
            return self._speed.get(expert, 0.0)

    def stop(self) -> None:
        """End after the present batch."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and not self._waiting:
                    self._changed.wait()
                if self._stopped:
                    return
                batch = self._next_batch()
                self._num_at_work = sum(len(asked.x_t) for asked in batch)
            if batch:
                self._evaluate(batch)
            with self._changed:
                self._num_at_work = 0

    def _next_batch(self) -> list[Asked]:
        now, late = self._clock.monotonic(), list[tuple[Asked, str]]()
        batch, left, room = list[Asked](), deque[Asked](), self._rows.most
        for asked in self._waiting:
            num_rows = len(asked.x_t)
            if asked.due_at < now:
                late.append((asked, "its deadline went by"))
            elif not asked.is_wanted():
                late.append((asked, "nobody waits for it any more"))
            elif not batch or (asked.goes_with(batch[0]) and num_rows <= room):
                batch.append(asked)
                room -= num_rows
            else:
                left.append(asked)
        self._waiting = left
        self._num_waiting = sum(len(asked.x_t) for asked in left)
        for asked, reason in late:
            asked.answer(Answered(None, is_late=True, reason=reason))
        return batch

    @torch.inference_mode()
    def _evaluate(self, batch: list[Asked]) -> None:
        began_at = self._clock.monotonic()
        try:
            velocity = self._velocity(batch)
        except Exception as error:  # whatever a network or a driver raises
            self._fail(batch, error)
            return
        seconds = self._clock.monotonic() - began_at
        self._note_speed(batch[0].expert.number, len(velocity), seconds)
        sizes = [len(asked.x_t) for asked in batch]
        for asked, part in zip(batch, torch.split(velocity, sizes), strict=True):
            asked.answer(Answered(part, waited_s=began_at - asked.arrived_at, evaluated_s=seconds))

    def _velocity(self, batch: list[Asked]) -> Tensor:
        x_t, t = (
            torch.cat([getattr(asked, name) for asked in batch]).to(self._device, torch.float32)
            for name in ("x_t", "t")
        )
        conds = [asked.cond for asked in batch if asked.cond is not None]
        cond = torch.cat(conds).to(self._device) if conds else None
        first, most = batch[0], self._rows.most
        field = row_by_row(first.expert.field) if first.row_by_row else first.expert.field
        rows = tuple(row for asked in batch for row in asked.rows or ())
        parts = []
        for begin in range(0, len(t), most):  # one caller's rows may be more than fit
            group = slice(begin, begin + most)
            given = x_t[group], t[group], None if cond is None else cond[group]
            if rows and isinstance(field, Remembering):
                parts.append(field.again(given, rows[group], first.thrift))
            else:
                parts.append(field(*given))
        return torch.cat(parts).to("cpu")

    def _fail(self, batch: list[Asked], error: Exception) -> None:
        """Evaluate each caller's rows alone, and refuse those that raise."""
        _log.warning("a batch raised", exc_info=not is_shortage(error))
        for asked in batch:  # some of them may have been evaluated, and are again
            if asked.rows and isinstance(asked.expert.field, Remembering):
                asked.expert.field.forget(asked.rows)
        if is_shortage(error) and self._rows.halve():
            torch.cuda.empty_cache()
            with self._changed:  # first of all, in smaller batches
                self._waiting.extendleft(reversed(batch))
                self._num_waiting += sum(len(asked.x_t) for asked in batch)
            return
        if len(batch) > 1:
            for asked in batch:
                self._evaluate([asked])
            return
        first_line = str(error).partition("\n")[0]
        batch[0].answer(Answered(None, reason=f"{type(error).__name__}: {first_line}"))

    def _note_speed(self, expert: int, num_rows: int, seconds: float) -> None:
        now = num_rows / max(seconds, 1e-9)
        with self._changed:
            before = self._speed.get(expert, now)
            self._speed[expert] = before + _REMEMBERED * (now - before)
