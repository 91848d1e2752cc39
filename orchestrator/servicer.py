"""The control plane's wire: decode, call the service, encode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from atoll import codec
from atoll.errors import Busy
from atoll.types import Action, Ending, Outcome
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from orchestrator.service import FleetService

_MOST_ID = 64  # characters of a request id
_EVENT_POLL_S = 1.0  # how soon a stream notices that its reader has left


class IslandsServicer(rpc.IslandsServicer):
    """What agents call."""

    def __init__(self, service: FleetService) -> None:
        self._service = service

    def Acquire(self, request: wire.AcquireRequest, _: Any) -> wire.AcquireResponse:  # noqa: N802
        """Ask for work."""
        island = codec.required(request.island, "island")
        request_id = codec.required(request.request_id, "request id", _MOST_ID)
        return codec.encode_acquired(self._service.acquire(island, request_id))

    def Heartbeat(  # noqa: N802
        self, request: wire.HeartbeatRequest, _: Any
    ) -> wire.HeartbeatResponse:
        """Keep a lease alive."""
        lease = codec.decode_lease(request.lease)
        directive = self._service.heartbeat(lease, codec.decode_progress(request.progress))
        return wire.HeartbeatResponse(directive=codec.encode_enum(directive))

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


class OperatorsServicer(rpc.OperatorsServicer):
    """What operators call."""

    def __init__(self, service: FleetService, max_watchers: int) -> None:
        self._service = service
        self._max_watchers = max_watchers
        self._room = threading.BoundedSemaphore(max_watchers)

    def Submit(self, request: wire.SubmitRequest, _: Any) -> wire.SubmitResponse:  # noqa: N802
        """Add or extend jobs."""
        self._service.submit([codec.decode_submission(job) for job in request.jobs])
        return wire.SubmitResponse()

    def GetFleet(self, _: wire.GetFleetRequest, __: Any) -> wire.GetFleetResponse:  # noqa: N802
        """The whole state."""
        return codec.encode_fleet(self._service.view())

    def WatchEvents(  # noqa: N802
        self, request: wire.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.WatchEventsResponse]:
        """All events after a number, then each new one."""
        if not self._room.acquire(blocking=False):
            raise Busy(
                f"{self._max_watchers} watch the events already; end one, or ask again later"
            )
        try:
            after = codec.count(request.after, "after")
            while context.is_active():
                for event in self._service.events(after, _EVENT_POLL_S):
                    after = event.number
                    yield wire.WatchEventsResponse(event=codec.encode_event(event))
        finally:
            self._room.release()

    def Drain(self, request: wire.DrainRequest, _: Any) -> wire.DrainResponse:  # noqa: N802
        """Let every island checkpoint and leave, or one."""
        if request.island:
            self._service.drain_island(request.island, request.reason)
        else:
            self._service.drain(request.reason)
        return wire.DrainResponse()

    def Steer(self, request: wire.SteerRequest, _: Any) -> wire.SteerResponse:  # noqa: N802
        """Pause, resume, cancel or retry jobs."""
        action = codec.decode_enum(Action, request.action)
        self._service.steer(action, list(request.jobs), request.reason)
        return wire.SteerResponse()
