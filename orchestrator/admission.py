"""Lets calls in over TLS: by whom the caller's certificate names, and not too many of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import grpc
from cryptography import x509

from atoll.authority import identity_in
from atoll.clock import Clock
from atoll.errors import Forbidden
from atoll.identity import Identity
from orchestrator.access import refuse_stranger
from orchestrator.interceptors import behaving
from orchestrator.rates import Rates

# An agent beats five times a second at most, a person's table asks four times a second.
_CALLS_PER_S = 50.0
_CALLS_AT_ONCE = 100.0
_PUSHBACK = "grpc-retry-pushback-ms"  # gRPC's clients wait so long before they try again

Behaviour = Callable[[Any, grpc.ServicerContext], Any]


class Admission(grpc.ServerInterceptor):
    """Asks of every call who makes it, see :mod:`orchestrator.access`."""

    def __init__(self, run: str, clock: Clock) -> None:
        """Guard the server of a run."""
        self._run = run
        self._clock = clock
        self._rates = Rates(_CALLS_PER_S, _CALLS_AT_ONCE, clock)

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of one call."""
        handler = continuation(details)
        if handler is None:
            return None
        service = details.method.strip("/").partition("/")[0]
        behaviour = handler.unary_stream or handler.unary_unary
        return behaving(handler, self._guarded(behaviour, service))

    def _guarded(self, behaviour: Behaviour, service: str) -> Behaviour:
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
                refuse_stranger(caller, self._run, service, request)
            except Forbidden as error:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            return behaviour(request, context)

        return call

    def _caller(self, context: grpc.ServicerContext) -> Identity:
        """Who calls: a connection may outlive the certificate it began with."""
        (pem,) = context.auth_context()["x509_pem_cert"]
        caller, ends = _read(pem)
        if caller is None:
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "the certificate names no island and no operator"
            )
        elif ends < self._clock.wall():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"the certificate of {caller} has ended")
        return caller


@functools.lru_cache(maxsize=4096)
def _read(pem: bytes) -> tuple[Identity | None, float]:
    """Whom a certificate, which gRPC has verified, names, and when it ends (s since 1970)."""
    certificate = x509.load_pem_x509_certificate(pem)
    return identity_in(certificate), certificate.not_valid_after_utc.timestamp()
