"""The standard reflection service: tells tools such as grpcurl what can be called, if asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

_MAX_READERS = 4  # each keeps a thread for as long as its stream is open


def add_reflection(server: grpc.Server, services: Iterable[str]) -> None:
    """Describe services by their full names, and reflection itself."""
    servicer = _BoundedReflection([*services, reflection.SERVICE_NAME])
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)


class _BoundedReflection(reflection.ReflectionServicer):
    def __init__(self, services: Iterable[str]) -> None:
        super().__init__(services)
        self._room = threading.BoundedSemaphore(_MAX_READERS)

    def ServerReflectionInfo(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        if not self._room.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{_MAX_READERS} look at the services already; ask again later",
            )
        try:
            yield from super().ServerReflectionInfo(requests, context)
        finally:
            self._room.release()
