"""Stretches: images that a server moves by what its expert says of them, evaluation by evaluation.

Between two evaluations they wait in the queue as any other rows, and share batches with them: who
asks for many keeps nobody else waiting for longer. Where one cannot go on, the caller hears how far
it came.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from atoll.clock import Clock
from atoll.errors import BadInput
from atoll.wire.v1 import experts_pb2 as wire
from serving.engine.stretch import Moving, Stretch
from serving.engine.thrift import Thrift
from serving.expert.evaluator import Answered, Asked, Evaluator, Remembering
from serving.expert.room import Room
from serving.expert.served import ServedExpert
from serving.remote.tensors import MAX_MESSAGE_BYTES

_numbers = itertools.count()  # of rows that come again
_log = logging.getLogger(__name__)

_MOST_STEPS = 10_000  # of an image
_MOST_EVALUATIONS = 128  # of a stretch: 64 steps, twice each
_OVERHEAD = 1024  # bytes of an answer around its tensor


def stretch_of(told: wire.Stretch, expert: ServedExpert, x: Tensor, cond: Tensor | None) -> Stretch:
    """The stretch that a caller asks for.

    Args:
        told: what came; anybody may have sent it.
        expert: that is asked.
        x: (B, C, H, W).
        cond: (B, ...); None without.

    Raises:
        BadInput: it is none that this expert can draw.
    """
    columns = (told.step, told.steps, told.reach, told.weight, told.guidance)
    num = len(x) if x.dim() else 0
    if not num or any(len(column) != num for column in columns):
        raise BadInput(f"a stretch tells of {num} images; send as many of each of its numbers")
    numbers = zip(told.step, told.steps, strict=True)
    if not all(0 <= step < steps <= _MOST_STEPS for step, steps in numbers):
        raise BadInput(f"a stretch begins at a step of its own, of {_MOST_STEPS} at most")
    if not all(0 <= part <= 1 for part in (*told.reach, *told.weight)):
        raise BadInput("a stretch has a solver whose numbers are no parts of a step")
    if not all(map(math.isfinite, told.guidance)):
        raise BadInput("a stretch has a guidance that is not finite")
    step, steps = torch.tensor(list(told.step)), torch.tensor(list(told.steps)).double()
    reach = torch.tensor(list(told.reach), dtype=torch.float32)
    left = int(((steps - step) * (1 + (reach != 0))).min())
    if not 1 <= told.evaluations <= min(left, _MOST_EVALUATIONS):
        raise BadInput(
            f"a stretch is of {told.evaluations} evaluations, and {left} are left, of which "
            f"{_MOST_EVALUATIONS} may be asked for at once"
        )
    thrift = Thrift(
        max(1, told.reuse_blocks),
        told.reuse_change if told.HasField("reuse_change") else math.inf,
        displaced=told.displaced,
    )
    if not thrift.change > 0:
        raise BadInput("a stretch reuses blocks up to a change that is not above 0")
    expert.check(x, (1 - step / steps).float(), cond)
    return Stretch(
        x=x.float(),
        cond=cond,
        step=step,
        steps=steps,
        reach=reach,
        weight=torch.tensor(list(told.weight), dtype=torch.float32),
        guidance=torch.tensor(list(told.guidance), dtype=torch.float32),
        evaluations=told.evaluations,
        thrift=thrift,
    )


@dataclass(slots=True, eq=False)
class Drawing:
    """A stretch on its way.

    Attributes:
        expert: whose word moves it.
        stretch: which.
        dtype: of velocities on the wire, by which images are moved, as they will be there.
        row_by_row: see :class:`serving.expert.evaluator.Asked`.
        due_at: likewise.
        evaluator: of its rows.
        clock: the evaluator's.
        room: for what is said of them.
        answer: is told its velocities, (E, R, C, H, W), once.
        is_wanted: whether anybody waits for it.
        may_go_on: whether more of it may be drawn than was begun.
    """

    expert: ServedExpert
    stretch: Stretch
    dtype: torch.dtype
    row_by_row: bool
    due_at: float
    evaluator: Evaluator
    clock: Clock
    room: Room
    answer: Callable[[Answered], None]
    is_wanted: Callable[[], bool] = lambda: True
    may_go_on: Callable[[], bool] = lambda: True
    _said: Tensor = field(default_factory=lambda: torch.empty(0))  # (E, R, C, H, W)
    _num: int = 0  # evaluations of which it was said
    _began_at: float = 0.0
    _rows: tuple[int, ...] | None = None

    def begin(self) -> None:
        """Have the first rows evaluated. Raises: Busy, as many wait as may."""
        self._began_at = self.clock.monotonic()
        shape = (self.stretch.num_rows, *self.stretch.x.shape[1:])
        most = min(self.stretch.evaluations, _most(shape, self.dtype))
        self._said = self.room.parts(most, shape, self.dtype)
        field, thrift = self.expert.field, self.stretch.thrift
        if isinstance(field, Remembering) and field.heeds(thrift) and not self.row_by_row:
            self._rows = tuple(itertools.islice(_numbers, self.stretch.num_rows))
        self._submit(Moving(self.stretch, self.expert.conditioning))

    def _submit(self, moving: Moving) -> None:
        rows = moving.rows
        self.evaluator.submit(
            Asked(
                expert=self.expert,
                x_t=rows.x,
                t=rows.t,
                cond=rows.cond,
                row_by_row=self.row_by_row,
                arrived_at=self.clock.monotonic(),
                due_at=self.due_at,
                answer=lambda told: self._go_on(moving, told),
                rows=self._rows,
                thrift=self.stretch.thrift,
                is_wanted=self.is_wanted,
            )
        )

    def _go_on(self, moving: Moving, told: Answered) -> None:
        velocity = told.velocity
        if velocity is None or (self._num and not bool(velocity.isfinite().all())):
            self._end(told)
            return
        said = self._said[self._num]
        said.copy_(velocity)
        self._num += 1
        if self._num == len(self._said) or not (self.is_wanted() and self.may_go_on()):
            self._end(told)
            return
        try:
            moving.move(said.float())
            self._submit(moving)
        except Exception as error:  # there may be no room; what was said until now is sound
            _log.info("a stretch is cut short", extra={"fields": {"why": str(error)}})
            self._end(told)

    def _end(self, last: Answered) -> None:
        if self._rows is not None and isinstance(self.expert.field, Remembering):
            self.expert.field.forget(self._rows)
        said, self._said = self._said[: self._num], torch.empty(0)
        if not len(said):
            self.answer(last)
            return
        passed_s = self.clock.monotonic() - self._began_at
        # But for one evaluation all of it is time that a caller of rows alone would not wait here.
        waited_s = max(passed_s - last.evaluated_s, 0.0)
        self.answer(Answered(said, waited_s=waited_s, evaluated_s=last.evaluated_s))


def _most(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Evaluations that one answer has room for, of rows of this shape."""
    size = torch.Size(shape).numel() * dtype.itemsize
    return max(1, (MAX_MESSAGE_BYTES - _OVERHEAD) // max(size, 1))
