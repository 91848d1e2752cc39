"""The standard health service, with room for some watchers only.

Watchers of the library's own kind that need no thread can hang the whole server when one leaves
while its first answer is on the way (grpcio-health-checking 1.85), so each keeps a thread here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_MAX_WATCHERS = 4


def add_health(server: grpc.Server, services: Iterable[str]) -> health.HealthServicer:
    """Tell that the server serves, as a whole and by the full name of each service.

    Returns:
        What tells it, and can be told that it no more does.
    """
    servicer = _BoundedHealth()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *services):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return servicer


class _BoundedHealth(health.HealthServicer):
    def __init__(self) -> None:
        super().__init__(experimental_non_blocking=False)
        self._room = threading.BoundedSemaphore(_MAX_WATCHERS)

    def Watch(self, request: Any, context: Any, _: Any = None) -> Any:  # noqa: N802
        if not self._room.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{_MAX_WATCHERS} watch the health already; ask with Check, or again later",
            )
        if not context.add_callback(self._room.release):
            self._room.release()
            return iter(())
        return super().Watch(request, context)
