"""Answers calls for images: decodes, asks the service, encodes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator

import grpc

from atoll.errors import BadInput, Busy, Unreachable
from atoll.wire.v1 import images_pb2 as wire
from atoll.wire.v1 import images_pb2_grpc as rpc
from serving.rpc.asking import about, order_of
from serving.rpc.callers import Callers
from serving.rpc.streams import Streams
from serving.rpc.telling import news
from serving.service.job import Job, JobView
from serving.service.service import Service

_PUSHBACK = "grpc-retry-pushback-ms"


class ImagesServicer(rpc.ImagesServicer):
    """Speaks for a service."""

    def __init__(
        self,
        service: Service,
        owner: Callable[[grpc.ServicerContext], str],
        streams: Streams,
        callers: Callers,
    ) -> None:
        """Speak for it.

        Args:
            service: draws.
            owner: who makes a call.
            streams: those there is room for.
            callers: how often each may ask for images.
        """
        self._service, self._owner, self._streams = service, owner, streams
        self._callers = callers

    def About(  # noqa: N802
        self,
        request: wire.AboutRequest,  # noqa: ARG002 - says nothing
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> wire.AboutResponse:
        """What can be asked for."""
        return about(self._service.edition)

    def Generate(  # noqa: N802
        self, request: wire.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.GenerateResponse]:
        """Images, while they are drawn."""
        job = self._ordered(request, self._owner(context), context)

        def give_up() -> None:
            self._service.abandon(job)

        if request.cancel_on_disconnect and not context.add_callback(give_up):
            give_up()
        for event in self._events(job, context):
            yield wire.GenerateResponse(event=event)
        end = job.view()
        if end.is_late or end.is_given_up or end.is_without:
            code = grpc.StatusCode
            context.set_code(code.DEADLINE_EXCEEDED if end.is_late else code.UNAVAILABLE)
            context.set_details(end.reason)

    def Watch(  # noqa: N802
        self, request: wire.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.WatchResponse]:
        """A job that was accepted, from where it stands."""
        job = self._service.job(request.job, self._owner(context))
        self._enter(context)
        for event in self._events(job, context):
            yield wire.WatchResponse(event=event)

    def Cancel(  # noqa: N802
        self, request: wire.CancelRequest, context: grpc.ServicerContext
    ) -> wire.CancelResponse:
        """Images that nobody wants any more."""
        self._service.cancel(request.job, self._owner(context))
        return wire.CancelResponse()

    def _ordered(
        self, request: wire.GenerateRequest, owner: str, context: grpc.ServicerContext
    ) -> Job:
        rates = self._callers.rates
        wait_s = rates.wait_s(owner) if rates else 0.0
        if wait_s:
            self._callers.refused("hasty")
            _ask_again(context, wait_s)
            raise Busy(f"more than serving.requests_per_minute; ask again in {math.ceil(wait_s)} s")
        self._enter(context)
        if not self._service.is_healthy:
            raise Unreachable("it draws no more; the log of the service says why")
        try:
            return self._service.order(order_of(request), owner)
        except BadInput:
            self._callers.refused("unusable")
            raise
        except Busy as error:
            if not self._service.is_ready:
                raise Unreachable(str(error)) from error
            self._callers.refused("busy")
            _ask_again(context, self._service.room_in_s(request.num or 1, owner))
            raise

    def _enter(self, context: grpc.ServicerContext) -> None:
        try:
            self._streams.enter(context)
        except Busy:
            self._callers.refused("busy")
            _ask_again(context, 1.0)
            raise

    def _events(self, job: Job, context: grpc.ServicerContext) -> Iterator[wire.JobEvent]:
        return self._streams.sent(context, _told(job, self._service.ahead_of(job), context))


def _ask_again(context: grpc.ServicerContext, seconds: float) -> None:
    """Tell when: gRPC's clients that try again by themselves wait so long."""
    context.set_trailing_metadata(((_PUSHBACK, str(math.ceil(seconds * 1000))),))


def _told(job: Job, ahead: int, context: grpc.ServicerContext) -> Iterator[wire.JobEvent]:
    """All that happens to a job, for as long as somebody reads."""
    yield wire.JobEvent(accepted=wire.JobAccepted(job=job.name, ahead=ahead, num=len(job.recipes)))
    bell = threading.Event()
    context.add_callback(bell.set)
    leave = job.watch(bell.set)
    seen: JobView | None = None
    try:
        while not (seen and seen.is_over):
            bell.clear()
            if not context.is_active():
                return
            view = job.view()
            yield from news(seen, view)
            seen = view
            if not view.is_over:
                bell.wait()
    finally:
        leave()
