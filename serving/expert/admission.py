"""Who may ask experts over TLS: gateways, and operators who look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from atoll.clock import Clock
from atoll.errors import Forbidden
from atoll.identity import Kind
from atoll.revocations import Revocation
from atoll.rpc.interceptors import behaving, behaviour_of
from atoll.rpc.shown import shown


class Admission(grpc.ServerInterceptor):
    """Asks of every call over TLS who makes it."""

    def __init__(self, clock: Clock, revoked: Callable[[], Mapping[str, Revocation]]) -> None:
        """Guard a server.

        Args:
            clock: whose wall clock ends certificates.
            revoked: who is shut out at the moment, by URI.
        """
        self._clock, self._revoked = clock, revoked

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call."""
        handler = continuation(details)
        if handler is None:
            return None
        behaviour = behaviour_of(handler)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self.refuse_stranger(context)
            except Forbidden as error:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            return behaviour(request, context)

        return behaving(handler, call)

    def refuse_stranger(self, context: grpc.ServicerContext) -> None:
        """Refuse who may not call, or not any more. Raises: Forbidden."""
        caller, ends = shown(context)
        if caller is None or caller.kind not in {Kind.GATEWAY, Kind.OPERATOR}:
            raise Forbidden("experts are asked by gateways; `atoll certs --gateway` makes one")
        if ends < self._clock.wall():
            raise Forbidden(f"the certificate of {caller} has ended")
        if caller.uri in self._revoked():
            raise Forbidden(f"{caller} was revoked")
