"""The control plane's wire: decode, call the service, encode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from atoll import codec, gang_codec, layout, log_codec, trace_codec, view_codec
from atoll.clock import SystemClock
from atoll.errors import Busy, LeaseLost, Refused
from atoll.log_types import LogsWanted
from atoll.types import Action, Ending, Outcome
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from orchestrator.rpc import log_names, log_reading, tracing
from orchestrator.rpc.admission import signed
from orchestrator.rpc.log_reading import Reader
from orchestrator.rpc.logbook import LogBook
from orchestrator.rpc.tracing import TraceDesk
from orchestrator.service import FleetService

_MOST_ID = 64  # characters of a request id
_EVENT_POLL_S = 1.0  # how soon a stream notices that its reader has left
_MOST_LINES = 10_000


class IslandsServicer(rpc.IslandsServicer):
    """What agents call."""

    def __init__(self, service: FleetService, book: LogBook, desk: TraceDesk) -> None:
        self._service = service
        self._book = book
        self._desk = desk

    def Acquire(self, request: wire.AcquireRequest, _: Any) -> wire.AcquireResponse:  # noqa: N802
        """Ask for work."""
        island = codec.required(request.island, "island")
        request_id = codec.required(request.request_id, "request id", _MOST_ID)
        seat = gang_codec.decode_seat(request)
        answer = codec.encode_acquired(self._service.acquire(island, request_id, seat))
        writer = f"{island}/{seat.node}" if seat else island
        answer.log_wanted = self._wanted(writer).agent
        return answer

    def Gather(self, request: wire.GatherRequest, _: Any) -> wire.GatherResponse:  # noqa: N802
        """Count a node of an island in."""
        call = gang_codec.decode_call(request)
        told = self._service.gather(call)
        job = told.assignment.spec.name if told.assignment else ""
        wanted = self._wanted(f"{call.island}/{call.node.name}", job)
        answer = gang_codec.encode_answer(told)
        answer.log_wanted, answer.trainer_log_wanted = wanted.agent, wanted.trainer
        return answer

    def Heartbeat(  # noqa: N802
        self, request: wire.HeartbeatRequest, _: Any
    ) -> wire.HeartbeatResponse:
        """Keep a lease alive."""
        lease = codec.decode_lease(request.lease)
        progress = codec.decode_progress(request.progress)
        incidents = codec.decode_incidents(request.incidents)
        directive = self._service.heartbeat(lease, progress, incidents)
        writer = log_names.writer_for(self._service.fleet, lease.island)
        wanted, wish = self._wanted(writer, lease.job), self._desk.wanted(lease.job)
        return wire.HeartbeatResponse(
            directive=codec.encode_enum(directive),
            log_wanted=wanted.agent,
            trainer_log_wanted=wanted.trainer,
            trace_wanted=trace_codec.encode_wish(wish) if wish else None,
        )

    def Commit(self, request: wire.CommitRequest, _: Any) -> wire.CommitResponse:  # noqa: N802
        """Publish a checkpoint."""
        lease = codec.decode_lease(request.lease)
        checkpoint = codec.decode_checkpoint(request.checkpoint)
        self._service.commit(lease, checkpoint, codec.decode_loss(request))
        return wire.CommitResponse()

    def Release(self, request: wire.ReleaseRequest, _: Any) -> wire.ReleaseResponse:  # noqa: N802
        """Give a lease back."""
        ending = codec.decode_enum(Ending, request.ending)
        outcome = Outcome(ending, request.reason, request.log)
        lease = codec.decode_lease(request.lease)
        request_id = codec.required(request.request_id, "request id", _MOST_ID)
        self._service.release(lease, outcome, request_id)
        return wire.ReleaseResponse()

    def SendLog(self, request: wire.SendLogRequest, _: Any) -> wire.SendLogResponse:  # noqa: N802
        """Tell what a log has gained."""
        piece, fleet = log_codec.decode_piece(request), self._service.fleet
        held = fleet.held_by(request.island)
        its_own = {(held.spec.name, held.epoch)} if held else set()
        if request.island in fleet.islands:
            its_own.add(("", 0))
        writer = piece.begin.island
        if (piece.job, piece.begin.epoch) not in its_own:
            raise LeaseLost(f"{writer} does not work on {piece.job or 'that'} any more")
        names = (
            log_names.trainer_names(fleet, writer, piece.job)
            if piece.job
            else log_names.agent_names(fleet, writer)
        )
        return wire.SendLogResponse(wanted=self._book.add(piece, names))

    def SendTrace(  # noqa: N802
        self, request: wire.SendTraceRequest, _: Any
    ) -> wire.SendTraceResponse:
        """Tell what became of a trace."""
        lease = codec.decode_lease(request.lease)
        held = self._service.fleet.held_by(lease.island)
        if held is None or (held.spec.name, held.epoch) != (lease.job, lease.epoch):
            raise LeaseLost(f"{lease.island} does not work on {lease.job} any more")
        trace = trace_codec.decode_trace(request.trace)
        if trace.key and not layout.is_trace(trace.key, lease.job):
            raise Refused(f"{trace.key} is no folder of a trace of {lease.job}")
        self._desk.take(lease.job, trace)
        return wire.SendTraceResponse()

    def _wanted(self, writer: str, job: str = "") -> LogsWanted:
        fleet = self._service.fleet
        trainer = log_names.trainer_names(fleet, writer, job) if job else ()
        return self._book.wanted(log_names.agent_names(fleet, writer), trainer)


class OperatorsServicer(rpc.OperatorsServicer):
    """What operators call."""

    def __init__(
        self, service: FleetService, book: LogBook, desk: TraceDesk, max_watchers: int
    ) -> None:
        self._service = service
        self._book = book
        self._desk = desk
        self._max_watchers = max_watchers
        self._room = threading.BoundedSemaphore(max_watchers)

    def Submit(self, request: wire.SubmitRequest, _: Any) -> wire.SubmitResponse:  # noqa: N802
        """Add or extend jobs."""
        self._service.submit([codec.decode_submission(job) for job in request.jobs])
        return wire.SubmitResponse()

    def GetFleet(self, _: wire.GetFleetRequest, __: Any) -> wire.GetFleetResponse:  # noqa: N802
        """The whole state."""
        return view_codec.encode_fleet(self._service.view())

    def WatchEvents(  # noqa: N802
        self, request: wire.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.WatchEventsResponse]:
        """All events after a number, then each new one."""
        with self._place():
            after = codec.count(request.after, "after")
            while context.is_active():
                for event in self._service.events(after, _EVENT_POLL_S):
                    after = event.number
                    yield wire.WatchEventsResponse(event=codec.encode_event(event))

    def WatchLog(  # noqa: N802
        self, request: wire.WatchLogRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.WatchLogResponse]:
        """The end of a log, and with ``follow`` what it gains."""
        after = log_codec.decode_place(request.after) if request.HasField("after") else None
        num_lines = codec.count(request.lines, "lines", _MOST_LINES)
        name = codec.required(request.name, "name")
        reader = Reader(name, num_lines, request.follow, after)
        log_reading.standing(self._service.fleet, name)  # nothing is kept for who asks amiss
        with self._place(), self._book.reading(name) as log:
            for said in log_reading.read(reader, log, lambda: self._service.fleet, SystemClock()):
                if not context.is_active():
                    return
                if said is not None:
                    yield log_codec.encode_lines(said)

    def Profile(  # noqa: N802
        self, request: wire.ProfileRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.ProfileResponse]:
        """A trace of a job's next steps."""
        job, steps = codec.required(request.job, "job"), trace_codec.decode_steps(request)
        with self._place():
            for trace in tracing.traced(job, steps, self._desk, lambda: self._service.fleet):
                if not context.is_active():
                    return
                if trace is not None:
                    yield wire.ProfileResponse(trace=trace_codec.encode_trace(trace))

    def Drain(  # noqa: N802
        self, request: wire.DrainRequest, context: grpc.ServicerContext
    ) -> wire.DrainResponse:
        """Let every island checkpoint and leave, or one."""
        why = signed(request.reason, context)
        if request.island:
            self._service.drain_island(request.island, why)
        else:
            self._service.drain(why)
        return wire.DrainResponse()

    def Steer(  # noqa: N802
        self, request: wire.SteerRequest, context: grpc.ServicerContext
    ) -> wire.SteerResponse:
        """Pause, resume, cancel or retry jobs."""
        action = codec.decode_enum(Action, request.action)
        self._service.steer(action, list(request.jobs), signed(request.reason, context))
        return wire.SteerResponse()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Inside, one of the places for watchers is taken. Raises: Busy."""
        if not self._room.acquire(blocking=False):
            raise Busy(
                f"{self._max_watchers} watch the events already; end one, or ask again later"
            )
        try:
            yield
        finally:
            self._room.release()
