"""What every call to the control plane goes through before it is answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from atoll.control import RUN_KEY
from atoll.errors import AtollError
from atoll.statuses import status_of
from orchestrator.fleet.state import brief

log = logging.getLogger(__name__)

Behaviour = Callable[[Any, grpc.ServicerContext], Any]

_LIBRARY = ("/grpc.health.", "/grpc.reflection.")  # gRPC's own services, of no run
_MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Readable(grpc.ServerInterceptor):
    """Reads messages itself, the outermost of all.

    Where gRPC's own reading fails, the call is answered yet never let go (grpcio 1.85): a hundred
    broken messages would use up all streams of a connection, and each keeps memory.
    """

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call, of any service."""
        handler = continuation(details)
        if handler is None:
            return None
        answer = behaviour_of(handler)

        def read(data: bytes, context: grpc.ServicerContext) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")

        def call(data: bytes, context: grpc.ServicerContext) -> Any:
            return answer(read(data, context), context)

        def call_of_many(data: Iterable[bytes], context: grpc.ServicerContext) -> Any:
            return answer((read(each, context) for each in data), context)

        many = handler.request_streaming
        make = _MAKERS[many, handler.response_streaming]
        return make(call_of_many if many else call, None, handler.response_serializer)


class Timed(grpc.ServerInterceptor):
    """Notes how long each call takes that has one answer.

    Args:
        note: told the name of the method, and seconds.
    """

    def __init__(self, note: Callable[[str, float], None]) -> None:
        self._note = note

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Look at one call."""
        handler = continuation(details)
        if handler is None or handler.response_streaming or details.method.startswith(_LIBRARY):
            return handler
        name, answer = details.method.rpartition("/")[2], handler.unary_unary

        def timed(request: Any, context: grpc.ServicerContext) -> Any:
            begin = time.perf_counter()
            try:
                return answer(request, context)
            finally:
                self._note(name, time.perf_counter() - begin)

        return behaving(handler, timed)


class OfThisRun(grpc.ServerInterceptor):
    """Turns away whoever belongs to another run.

    Ports are used again: an agent whose orchestrator is gone may find another run's at its address,
    with jobs and islands of the same names. To such a caller this one does not answer.
    """

    def __init__(self, run: str) -> None:
        """Serve the run of this name, see :func:`orchestrator.naming.name_of`."""
        self._run = run

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Look at one call; gRPC's own services tell of no run."""
        handler = continuation(details)
        if handler is None or details.method.startswith(_LIBRARY):
            return handler
        if dict(details.invocation_metadata).get(RUN_KEY) == self._run:
            return handler
        return behaving(handler, _turned_away)


class ErrorsAsStatus(grpc.ServerInterceptor):
    """Turns the house's errors into gRPC statuses with their sentence, and hides all others."""

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call, unless it is of gRPC's own services."""
        handler = continuation(details)
        if handler is None or details.method.startswith(_LIBRARY):
            return handler
        wrapped = _streaming if handler.response_streaming else _guarded
        return behaving(handler, wrapped(behaviour_of(handler)))


def behaving(handler: Any, behaviour: Behaviour) -> Any:
    """A handler of the same messages that does something else with them."""
    make = _MAKERS[handler.request_streaming, handler.response_streaming]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def behaviour_of(handler: Any) -> Behaviour:
    """What a handler does, whether it streams or not."""
    behaviour: Behaviour = handler.stream_stream or handler.unary_stream or handler.unary_unary
    return behaviour


def _turned_away(_: Any, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "another run's orchestrator listens there")


def _guarded(behaviour: Behaviour) -> Behaviour:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(request, context)
        except Exception as error:
            _abort(error, context)

    return call


def _streaming(behaviour: Behaviour) -> Behaviour:
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(request, context)
        except Exception as error:
            _abort(error, context)

    return call


def _abort(error: Exception, context: grpc.ServicerContext) -> None:
    if isinstance(error, AtollError):
        context.abort(status_of(error), brief(str(error)))
    log.error("unexpected error in a call", exc_info=error)
    context.abort(
        grpc.StatusCode.INTERNAL, "the orchestrator met an unexpected error; its log has more"
    )
