"""What calls to the control plane go through before they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc

from atoll.control import RUN_KEY
from atoll.rpc.interceptors import LIBRARY, behaving


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
        if handler is None or handler.response_streaming or details.method.startswith(LIBRARY):
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
        if handler is None or details.method.startswith(LIBRARY):
            return handler
        if dict(details.invocation_metadata).get(RUN_KEY) == self._run:
            return handler
        return behaving(handler, _turned_away)


def _turned_away(_: Any, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "another run's orchestrator listens there")
