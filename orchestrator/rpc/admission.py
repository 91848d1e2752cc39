"""Lets calls in over TLS: by whom the caller's certificate names, and not too many of them.

A stream that was let in goes on by itself, so those of callers who are revoked have to be ended.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from atoll.clock import Clock
from atoll.errors import Forbidden
from atoll.identity import Identity
from atoll.rates import Rates
from atoll.revocations import Revocation
from atoll.rpc.interceptors import behaving, behaviour_of
from atoll.rpc.shown import shown
from orchestrator.rpc.access import refuse_stranger

# An agent beats five times a second at most, a person's table asks four times a second.
_CALLS_PER_S = 50.0
_CALLS_AT_ONCE = 100.0
_PUSHBACK = "grpc-retry-pushback-ms"  # gRPC's clients wait so long before they try again

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
Revoked = Callable[[], Mapping[str, Revocation]]


class Admission(grpc.ServerInterceptor):
    """Asks of every call who makes it, see :mod:`orchestrator.rpc.access`."""

    def __init__(self, run: str, clock: Clock, revoked: Revoked = dict) -> None:
        """Guard the server of a run.

        Args:
            run: its name.
            clock: whose wall clock ends certificates.
            revoked: who is shut out at the moment, by URI.
        """
        self._run = run
        self._clock = clock
        self._revoked = revoked
        self._lock = threading.Lock()
        self._streams: dict[grpc.ServicerContext, Identity] = {}
        self._rates = Rates(_CALLS_PER_S, _CALLS_AT_ONCE, clock)

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call."""
        handler = continuation(details)
        if handler is None:
            return None
        service = details.method.strip("/").partition("/")[0]
        return behaving(handler, self._guarded(handler, service))

    def end_streams(self) -> None:
        """End those of callers who were revoked since."""
        revoked = self._revoked().keys()
        with self._lock:
            doomed = [
                each for each, who in self._streams.items() if who.shut_out_as(who.name) & revoked
            ]
        for context in doomed:
            context.cancel()

    def _guarded(self, handler: Any, service: str) -> Behaviour:
        behaviour = behaviour_of(handler)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            caller = self._caller(context)
            wait_s = self._rates.wait_s(caller.uri)
            if wait_s > 0:
                context.set_trailing_metadata(((_PUSHBACK, str(math.ceil(wait_s * 1000))),))
                context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{caller} calls more than {_CALLS_PER_S:g} times a second; "
                    f"wait {wait_s:.2f} s",
                )
            try:
                refuse_stranger(caller, self._run, service, request, self._revoked())
            except Forbidden as error:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            if handler.response_streaming:
                self._remember(context, caller)
            return behaviour(request, context)

        return call

    def _remember(self, context: grpc.ServicerContext, caller: Identity) -> None:
        with self._lock:
            self._streams[context] = caller
        if not context.add_callback(lambda: self._forget(context)):
            self._forget(context)

    def _forget(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._streams.pop(context, None)

    def _caller(self, context: grpc.ServicerContext) -> Identity:
        """Who calls: a connection may outlive the certificate it began with."""
        caller, ends = shown(context)
        if caller is None:
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "the certificate names no island and no operator"
            )
        elif ends < self._clock.wall():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"the certificate of {caller} has ended")
        return caller


def signed(reason: str, context: grpc.ServicerContext) -> str:
    """An operator's reason after their name, if a certificate tells that.

    The name comes first, where no reason can hide it: long ones are cut at their end.
    """
    caller, _ = shown(context)
    if caller is None:
        return reason
    return f"{caller}: {reason}" if reason else f"asked by {caller}"
