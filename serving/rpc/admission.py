"""Lets in who shows an API key that counts; health and reflection are for everybody."""

from __future__ import annotations

from typing import Any

import grpc

from atoll.errors import Forbidden
from atoll.rpc.interceptors import LIBRARY, behaving, behaviour_of
from serving.rpc.callers import Callers

_SCHEME = "bearer "


class Admission(grpc.ServerInterceptor):
    """Asks of every call who makes it."""

    def __init__(self, callers: Callers) -> None:
        """Guard a server from all but these."""
        self._callers = callers

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call."""
        handler = continuation(details)
        if handler is None or details.method.startswith(LIBRARY):
            return handler
        behaviour = behaviour_of(handler)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self.owner(context)
            except Forbidden as error:
                self._callers.refused("stranger")
                context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            return behaviour(request, context)

        return behaving(handler, call)

    def owner(self, context: grpc.ServicerContext) -> str:
        """Who makes a call. Raises: Forbidden."""
        shown = str(dict(context.invocation_metadata()).get("authorization", ""))
        is_key = shown.lower().startswith(_SCHEME)
        return self._callers.owner_of(shown[len(_SCHEME) :].strip() if is_key else "")
