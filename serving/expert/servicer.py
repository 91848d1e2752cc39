"""Answers gateways: decodes rows, has them evaluated, encodes velocities."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import grpc
import torch
from torch import Tensor

from atoll.clock import Clock
from atoll.errors import BadInput, Busy, Forbidden
from atoll.wire.v1 import experts_pb2 as wire
from atoll.wire.v1 import experts_pb2_grpc as rpc
from serving.expert.conditions import Conditions, Untold
from serving.expert.evaluator import Answered, Asked, Evaluator
from serving.expert.room import Room
from serving.expert.served import ServedExpert
from serving.expert.stretches import Drawing, stretch_of
from serving.remote.conditions import is_large
from serving.remote.tensors import FLOATS, decoded, encoded

_log = logging.getLogger(__name__)

_MOST_OPEN = 256  # requests of one stream that are not answered; then no more is read
_MOST_SAID_BYTES = 1 << 30  # of all stretches that are drawn, or not sent yet
_CONDITIONS = (*FLOATS, torch.int64)

Answers = queue.SimpleQueue[Callable[[], wire.EvaluateResponse] | None]  # made as they are sent


@dataclass(frozen=True, slots=True, eq=False)
class _Caller:
    """Who asks by one stream.

    Attributes:
        put: an answer, to be made as it is sent.
        is_heard: whether anybody reads.
        waits_for: numbers of requests.
    """

    put: Callable[[Callable[[], wire.EvaluateResponse]], None]
    is_heard: Callable[[], bool]
    waits_for: set[int] = field(default_factory=set)


class ExpertsServicer(rpc.ExpertsServicer):
    """Speaks for an evaluator."""

    def __init__(  # noqa: PLR0917 - all that it speaks for
        self,
        run: str,
        experts: Sequence[ServedExpert],
        evaluator: Evaluator,
        clock: Clock,
        is_leaving: Callable[[], bool],
        conditions: Conditions,
        refuse_stranger: Callable[[grpc.ServicerContext], None] = lambda _: None,
    ) -> None:
        """Speak for it.

        Args:
            run: whose experts they are.
            experts: those there are.
            evaluator: of their rows.
            clock: for deadlines; the evaluator's.
            is_leaving: whether no more is taken.
            conditions: that callers have told.
            refuse_stranger: raises Forbidden once who has begun a stream may call no more.
        """
        self._run, self._experts = run, {each.number: each for each in experts}
        self._evaluator, self._clock, self._is_leaving = evaluator, clock, is_leaving
        self._conditions, self._refuse_stranger = conditions, refuse_stranger
        self._room = Room(_MOST_SAID_BYTES)

    def Describe(  # noqa: N802
        self,
        request: wire.DescribeRequest,  # noqa: ARG002 - says nothing
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> wire.DescribeResponse:
        """Whom it speaks for."""
        return wire.DescribeResponse(
            run=self._run,
            experts=[
                wire.ServedExpert(
                    expert=each.number,
                    checkpoint=each.checkpoint,
                    shape=each.shapes[0],
                    rows_per_second=self._evaluator.speed(each.number),
                )
                for each in self._experts.values()
            ],
            batch_rows=self._evaluator.batch_rows,
            queue_rows=self._evaluator.queue_rows,
            waiting_rows=self._evaluator.num_waiting,
            conditions_bytes=self._conditions.most_bytes,
        )

    def Evaluate(  # noqa: N802
        self, requests: Iterator[wire.EvaluateRequest], context: grpc.ServicerContext
    ) -> Iterator[wire.EvaluateResponse]:
        """Velocities, as they come."""
        answers, room = Answers(), threading.Semaphore(_MOST_OPEN)

        def end() -> None:  # whoever has left hears no more
            answers.put(None)
            room.release(_MOST_OPEN)

        if not context.add_callback(end):
            return
        reading = threading.Thread(
            target=self._read, args=(requests, context, answers, room), daemon=True
        )
        reading.start()
        while (answer := answers.get()) is not None:
            room.release()
            made = answer()
            del answer  # it has what was said, which nobody may come to ask about for long
            yield made
            del made

    def _read(
        self,
        requests: Iterator[wire.EvaluateRequest],
        context: grpc.ServicerContext,
        answers: Answers,
        room: threading.Semaphore,
    ) -> None:
        """Take in what a stream asks; it ends once all of that is answered."""
        caller = _Caller(answers.put, context.is_active)
        try:
            for request in requests:
                self._refuse_stranger(context)
                if request.withdrawn:
                    caller.waits_for.discard(request.number)
                    continue
                if request.HasField("conditions"):
                    self._keep(request.conditions)
                    continue
                room.acquire()
                if not context.is_active():
                    return
                self._take(request, caller)
        except Forbidden:
            context.cancel()
        except Exception as error:  # gRPC's own, where the caller has gone
            if context.is_active():
                _log.warning("a stream broke off", extra={"fields": {"error": str(error)}})
        for _ in range(_MOST_OPEN):
            room.acquire()  # all are answered, or nobody reads
            if not context.is_active():
                return
        answers.put(None)

    def _keep(self, told: wire.Tensor) -> None:
        try:
            conditions = decoded(told, "conditions", _CONDITIONS)
            rows = {each.conditioning.row for each in self._experts.values()}
            if tuple(conditions.shape[1:]) not in rows or not is_large(conditions):
                raise BadInput(f"no expert here is told those of shape {tuple(conditions.shape)}")  # noqa: TRY301
            self._conditions.keep(conditions)
        except BadInput as error:  # whoever goes by them is told that they are not known
            _log.warning("conditions are of no use", extra={"fields": {"error": str(error)}})

    def _take(self, request: wire.EvaluateRequest, caller: _Caller) -> None:
        def refuse(refusal: wire.Refusal, reason: str) -> None:
            caller.waits_for.discard(request.number)
            caller.put(lambda: _refused(request.number, refusal, reason))

        expert = self._experts.get(request.expert)
        if self._is_leaving():
            refuse(wire.REFUSAL_LEAVING, "this server is about to end; ask another")
            return
        if expert is None or expert.checkpoint != request.checkpoint:
            refuse(wire.REFUSAL_NOT_HERE, f"expert {request.expert} of this checkpoint is not here")
            return
        try:
            self._begin(request, expert, caller)
        except Untold as error:
            refuse(wire.REFUSAL_UNTOLD, str(error))
        except BadInput as error:
            refuse(wire.REFUSAL_UNUSABLE, str(error))
        except Busy as error:
            refuse(wire.REFUSAL_BUSY, str(error))
        except Exception as error:  # whatever these rows do to whom, the stream goes on
            _log.warning("rows raised before they were evaluated", exc_info=True)
            refuse(wire.REFUSAL_FAILED, f"{type(error).__name__}: {error}")

    def _begin(self, request: wire.EvaluateRequest, expert: ServedExpert, caller: _Caller) -> None:
        """Have it evaluated. Raises: BadInput, Busy, Untold."""
        now = self._clock.monotonic()
        due_at = now + request.deadline_s if request.deadline_s > 0 else math.inf
        x_t = decoded(request.x_t, "x_t")
        cond = self._condition(request, len(x_t) if x_t.dim() else 0)
        cond = cond if cond is None or cond.dtype == torch.int64 else cond.float()

        number, dtype = request.number, x_t.dtype
        caller.waits_for.add(number)

        def is_wanted() -> bool:
            return number in caller.waits_for and caller.is_heard()

        def answer(told: Answered) -> None:
            if is_wanted():
                caller.put(lambda: self._answer(number, dtype, told))
            else:
                caller.put(lambda: _refused(number, wire.REFUSAL_WITHDRAWN, "nobody waits for it"))
            caller.waits_for.discard(number)

        if request.HasField("stretch"):
            stretch = stretch_of(request.stretch, expert, x_t, cond)
            Drawing(
                expert=expert,
                stretch=stretch,
                dtype=x_t.dtype,
                row_by_row=request.row_by_row,
                due_at=due_at,
                evaluator=self._evaluator,
                clock=self._clock,
                room=self._room,
                answer=answer,
                is_wanted=is_wanted,
                may_go_on=lambda: not self._is_leaving(),
            ).begin()
            return
        t = decoded(request.t, "t", (torch.float32,))
        expert.check(x_t, t, cond)
        self._evaluator.submit(
            Asked(
                expert=expert,
                x_t=x_t,
                t=t,
                cond=cond,
                row_by_row=request.row_by_row,
                arrived_at=now,
                due_at=due_at,
                answer=answer,
                is_wanted=is_wanted,
            )
        )

    def _condition(self, request: wire.EvaluateRequest, num: int) -> Tensor | None:
        """That of each of so many rows. Raises: BadInput, Busy, Untold."""
        keys = request.cond_keys
        if request.HasField("cond"):
            return decoded(request.cond, "cond", _CONDITIONS)
        if not keys:
            return None
        if len(keys) != num:
            raise BadInput(f"there are {len(keys)} conditions for {num} rows")
        self._evaluator.refuse_beyond(num)  # before they are laid out: a key is short
        return self._conditions.of(keys)

    def _answer(self, number: int, dtype: torch.dtype, told: Answered) -> wire.EvaluateResponse:
        answer = wire.EvaluateResponse(
            number=number,
            reason=told.reason,
            waited_s=told.waited_s,
            evaluated_s=told.evaluated_s,
            waiting_rows=self._evaluator.num_waiting,
        )
        if told.velocity is not None:
            answer.velocity.CopyFrom(encoded(told.velocity, dtype))
        else:
            answer.refusal = wire.REFUSAL_LATE if told.is_late else wire.REFUSAL_FAILED
        return answer


def _refused(number: int, refusal: wire.Refusal, reason: str) -> wire.EvaluateResponse:
    return wire.EvaluateResponse(number=number, refusal=refusal, reason=reason)
