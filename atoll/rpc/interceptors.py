"""What calls go through before they are answered, whatever is served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from atoll.errors import AtollError
from atoll.reasons import brief
from atoll.statuses import TOLD, status_of

log = logging.getLogger(__name__)

Behaviour = Callable[[Any, grpc.ServicerContext], Any]

LIBRARY = ("/grpc.health.", "/grpc.reflection.")  # how the names of gRPC's own services begin
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


class ErrorsAsStatus(grpc.ServerInterceptor):
    """Turns the house's errors into gRPC statuses with their sentence, and hides all others.

    Args:
        who: serves, in words.
    """

    def __init__(self, who: str) -> None:
        self._who = who

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call, unless it is of gRPC's own services."""
        handler = continuation(details)
        if handler is None or details.method.startswith(LIBRARY):
            return handler
        wrapped = self._streaming if handler.response_streaming else self._guarded
        return behaving(handler, wrapped(behaviour_of(handler)))

    def _guarded(self, behaviour: Behaviour) -> Behaviour:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return behaviour(request, context)
            except Exception as error:
                self._abort(error, context)

        return call

    def _streaming(self, behaviour: Behaviour) -> Behaviour:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from behaviour(request, context)
            except Exception as error:
                self._abort(error, context)

        return call

    def _abort(self, error: Exception, context: grpc.ServicerContext) -> None:
        if isinstance(error, AtollError):
            kept = context.trailing_metadata() or ()
            context.set_trailing_metadata((*kept, (TOLD, "1")))
            context.abort(status_of(error), brief(str(error)))
        log.error("unexpected error in a call", exc_info=error)
        context.abort(
            grpc.StatusCode.INTERNAL, f"{self._who} met an unexpected error; its log has more"
        )


def behaving(handler: Any, behaviour: Behaviour) -> Any:
    """A handler of the same messages that does something else with them."""
    make = _MAKERS[handler.request_streaming, handler.response_streaming]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def behaviour_of(handler: Any) -> Behaviour:
    """What a handler does, whether it streams or not."""
    behaviour: Behaviour = handler.stream_stream or handler.unary_stream or handler.unary_unary
    return behaviour
