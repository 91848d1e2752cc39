"""The control plane as seen by an agent and by an operator, and its gRPC client."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn, Protocol, Self

import grpc

from atoll import codec, gang_codec, log_codec, trace_codec, view_codec
from atoll.gangs import Answer, Call, Seat
from atoll.log_types import LogLines, LogPiece, LogPlace, LogsWanted
from atoll.statuses import error_of
from atoll.traces import Trace, TraceWish
from atoll.types import (
    Action,
    Assignment,
    CheckpointRef,
    Directive,
    Event,
    Incident,
    Lease,
    Outcome,
    Progress,
    Submission,
    Wait,
)
from atoll.views import FleetView
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from atoll.wire.v1 import identity_pb2, identity_pb2_grpc

DEADLINE_S = 10.0
_LOG_DEADLINE_S = 1.0
RUN_KEY = "atoll-run"  # metadata of every call: the run it is about

# Retried by the channel itself, transparently: every call is idempotent by content or request id.
# Who calls too often is told when to come again, and the channel waits so long.
SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": f"atoll.wire.v1.{name}"} for name in services],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": codes,
                },
            }
            for services, codes in (
                (["Islands", "Identities"], ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]),
                (["Operators"], ["UNAVAILABLE"]),
            )
        ]
    }
)


class ControlPlane(Protocol):
    """What an agent asks of the orchestrator. Every call may raise Unreachable."""

    def acquire(self, island: str, request_id: str, seat: Seat | None = None) -> Assignment | Wait:
        """Ask for work; the same request id gets the same lease again.

        Args:
            island: for which.
            request_id: of this request, however often it is sent.
            seat: which of the island's nodes asks; None where it has but one.
        """
        ...

    def gather(self, call: Call, deadline_s: float) -> Answer:
        """Be counted among the nodes of an island, and hear of the others."""
        ...

    def heartbeat(
        self, lease: Lease, progress: Progress, incidents: Sequence[Incident] = ()
    ) -> Directive:
        """Extend the lease by a term.

        Args:
            lease: which.
            progress: of its trainer.
            incidents: that were not told yet, or whose answer was lost.

        Raises:
            LeaseLost: the lease is not current.
        """
        ...

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        """Publish a checkpoint, once however often it is said.

        Args:
            lease: under which it was written.
            checkpoint: as uploaded.
            loss: mean training loss of the steps before it; NaN if it is not known.

        Raises:
            LeaseLost: the lease is not current.
            Refused: the checkpoint goes back in steps, or was not written under the lease.
        """
        ...

    def release(self, lease: Lease, outcome: Outcome, request_id: str) -> None:
        """Give the lease back, once however often it is said.

        Raises:
            LeaseLost: the lease is not current.
            Refused: the work is called finished and is not.
        """
        ...

    @property
    def logs_wanted(self) -> LogsWanted:
        """Which of the island's logs somebody reads, by the last answer."""
        ...

    def send_log(self, piece: LogPiece) -> bool:
        """Tell what a log has gained; whether more is wanted. Raises: LeaseLost."""
        ...

    @property
    def trace_wanted(self) -> TraceWish | None:
        """Which trace somebody waits for, by the answer to the last heartbeat."""
        ...

    def send_trace(self, lease: Lease, trace: Trace) -> None:
        """Tell what became of a trace that was wanted. Raises: LeaseLost."""
        ...


def new_request_id() -> str:
    """An id that makes one logical request recognisable however often it is sent."""
    return uuid.uuid4().hex


class ControlClient:
    """The control plane over gRPC, for agents and operators alike."""

    def __init__(
        self, address: str, run: str, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        """Connect lazily.

        Args:
            address: ``host:port``.
            run: name of the run; another run's orchestrator counts as no answer.
            credentials: who calls, and whom they trust; None for plain text.
        """
        self._metadata = ((RUN_KEY, run),)
        self._credentials = credentials
        self._logs_wanted = LogsWanted()
        self._trace_wanted: TraceWish | None = None
        self._connect(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def move(self, address: str) -> None:
        """Go on with an orchestrator elsewhere, in the middle of no call."""
        self._channel.close()
        self._connect(address)

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def acquire(self, island: str, request_id: str, seat: Seat | None = None) -> Assignment | Wait:
        """See :class:`ControlPlane`."""
        request = wire.AcquireRequest(
            island=island,
            request_id=request_id,
            node=seat.node if seat else "",
            generation=seat.generation if seat else 0,
        )
        answer = self._call(self._islands.Acquire, request)
        self._logs_wanted = LogsWanted(answer.log_wanted)
        return codec.decode_acquired(answer)

    def gather(self, call: Call, deadline_s: float) -> Answer:
        """See :class:`ControlPlane`."""
        answer = self._call(self._islands.Gather, gang_codec.encode_call(call), deadline_s)
        self._logs_wanted = LogsWanted(answer.log_wanted, answer.trainer_log_wanted)
        return gang_codec.decode_answer(answer)

    def heartbeat(
        self, lease: Lease, progress: Progress, incidents: Sequence[Incident] = ()
    ) -> Directive:
        """See :class:`ControlPlane`."""
        request = wire.HeartbeatRequest(
            lease=codec.encode_lease(lease),
            progress=codec.encode_progress(progress),
            incidents=[codec.encode_incident(incident) for incident in incidents],
        )
        # A late heartbeat is worthless; the next one is on its way.
        answer = self._call(self._islands.Heartbeat, request, deadline_s=lease.term_s / 2)
        self._logs_wanted = LogsWanted(answer.log_wanted, answer.trainer_log_wanted)
        is_wanted = answer.HasField("trace_wanted")
        self._trace_wanted = trace_codec.decode_wish(answer.trace_wanted) if is_wanted else None
        return codec.decode_enum(Directive, answer.directive)

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        """See :class:`ControlPlane`."""
        request = wire.CommitRequest(
            lease=codec.encode_lease(lease),
            checkpoint=codec.encode_checkpoint(checkpoint),
            loss=None if math.isnan(loss) else loss,
        )
        # Who waits for the answer cannot beat meanwhile, and the lease must not end over it.
        self._call(self._islands.Commit, request, deadline_s=min(DEADLINE_S, lease.term_s / 2))

    def release(self, lease: Lease, outcome: Outcome, request_id: str) -> None:
        """See :class:`ControlPlane`."""
        request = wire.ReleaseRequest(
            lease=codec.encode_lease(lease),
            ending=codec.encode_enum(outcome.ending),
            reason=outcome.reason,
            request_id=request_id,
            log=outcome.log,
        )
        self._call(self._islands.Release, request)

    @property
    def logs_wanted(self) -> LogsWanted:
        """See :class:`ControlPlane`."""
        return self._logs_wanted

    def send_log(self, piece: LogPiece) -> bool:
        """See :class:`ControlPlane`."""
        # Heartbeats wait meanwhile, and they matter more.
        answer = self._call(self._islands.SendLog, log_codec.encode_piece(piece), _LOG_DEADLINE_S)
        if not answer.wanted:  # heard before the next heartbeat
            left = {"trainer": False} if piece.job else {"agent": False}
            self._logs_wanted = replace(self._logs_wanted, **left)
        return bool(answer.wanted)

    @property
    def trace_wanted(self) -> TraceWish | None:
        """See :class:`ControlPlane`."""
        return self._trace_wanted

    def send_trace(self, lease: Lease, trace: Trace) -> None:
        """See :class:`ControlPlane`."""
        request = wire.SendTraceRequest(
            lease=codec.encode_lease(lease), trace=trace_codec.encode_trace(trace)
        )
        self._call(self._islands.SendTrace, request, deadline_s=min(DEADLINE_S, lease.term_s / 2))

    def certify(
        self, island: str, signing_request: bytes, deadline_s: float, node: str = ""
    ) -> bytes:
        """A certificate as an island, or as a node of it, for who may be that.

        Returns:
            X.509, PEM.

        Raises:
            Forbidden: the caller may not, or the name belongs to another key.
        """
        request = identity_pb2.CertifyRequest(
            island=island, node=node, signing_request=signing_request
        )
        answer = self._call(self._identities.Certify, request, deadline_s)
        certificate: bytes = answer.certificate
        return certificate

    def submit(self, jobs: Sequence[Submission]) -> None:
        """Add jobs, or extend those that are there. Raises: Refused if a digest differs."""
        request = wire.SubmitRequest(jobs=[codec.encode_submission(job) for job in jobs])
        self._call(self._operators.Submit, request)

    def fleet(self) -> FleetView:
        """The whole state of the run."""
        return view_codec.decode_fleet(self._call(self._operators.GetFleet, wire.GetFleetRequest()))

    def events(self, after: int = 0) -> Iterator[Event]:
        """Every event after a number, then each new one; ends only with the connection.

        Raises:
            Busy: too many watch already.
        """
        request = wire.WatchEventsRequest(after=after)
        stream = self._operators.WatchEvents(request, metadata=self._metadata)
        try:
            for message in stream:
                yield codec.decode_event(message.event)
        except grpc.RpcError as error:
            self._raise(error)
        finally:
            stream.cancel()

    def log(
        self, name: str, num_lines: int, *, follow: bool, after: LogPlace | None = None
    ) -> Iterator[LogLines]:
        """The end of a job's or an island's log, and with ``follow`` each line it gains.

        Args:
            name: of the job or the island.
            num_lines: how many to begin with.
            follow: whether to go on until nothing can come any more.
            after: where an earlier reading ended: then all that came since.

        Raises:
            Refused: neither a job nor an island is called so.
            Busy: too many watch already.
        """
        place = log_codec.encode_place(after) if after else None
        request = wire.WatchLogRequest(name=name, lines=num_lines, follow=follow, after=place)
        stream = self._operators.WatchLog(request, metadata=self._metadata)
        try:
            for message in stream:
                yield log_codec.decode_lines(message)
        except grpc.RpcError as error:
            self._raise(error)
        finally:
            stream.cancel()

    def trace(self, job: str, steps: int) -> Trace:
        """A trace of the next steps of a job that is worked on; waits until it is there.

        Raises:
            Refused: there is no such job, nobody works on it, or it is being traced already.
            Busy: too many watch already.
        """
        request = wire.ProfileRequest(job=job, steps=steps)
        stream = self._operators.Profile(request, metadata=self._metadata)
        try:
            return trace_codec.decode_trace(next(stream).trace)
        except grpc.RpcError as error:
            self._raise(error)
        finally:
            stream.cancel()

    def drain(self, reason: str, island: str = "") -> None:
        """Let every island checkpoint and leave, or one. Raises: Refused if it is not alive."""
        self._call(self._operators.Drain, wire.DrainRequest(reason=reason, island=island))

    def steer(self, action: Action, jobs: Sequence[str], reason: str) -> None:
        """Pause, resume, cancel or retry jobs; none named means all that it can be done to.

        Raises:
            Refused: there is no such job, or it stands where that cannot be done.
        """
        request = wire.SteerRequest(action=codec.encode_enum(action), jobs=jobs, reason=reason)
        self._call(self._operators.Steer, request)

    def _connect(self, address: str) -> None:
        self._address = address
        options = [
            ("grpc.service_config", SERVICE_CONFIG),
            ("grpc.enable_retries", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        self._channel = (
            grpc.insecure_channel(address, options)
            if self._credentials is None
            else grpc.secure_channel(address, self._credentials, options)
        )
        self._islands = rpc.IslandsStub(self._channel)
        self._operators = rpc.OperatorsStub(self._channel)
        self._identities = identity_pb2_grpc.IdentitiesStub(self._channel)

    def _call(self, method: Any, request: Any, deadline_s: float = DEADLINE_S) -> Any:
        try:
            return method(request, timeout=deadline_s, metadata=self._metadata)
        except grpc.RpcError as error:
            self._raise(error)

    def _raise(self, error: grpc.RpcError) -> NoReturn:
        who = f"the orchestrator at {self._address}"
        raise error_of(error.code(), error.details() or "", who) from error
