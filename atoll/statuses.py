"""The house's errors as statuses of gRPC, and back."""

from __future__ import annotations

import grpc

from atoll.errors import (
    AtollError,
    Busy,
    ControlError,
    Forbidden,
    LeaseLost,
    Refused,
    Unreachable,
)


def error_of(code: grpc.StatusCode, details: str, address: str) -> AtollError:
    """The house's error for a gRPC status; :func:`status_of` is its inverse."""
    if code is grpc.StatusCode.ABORTED:
        return LeaseLost(details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Busy(details)
    if code in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }:
        return Unreachable(f"the orchestrator at {address} does not answer ({details})")
    if code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}:
        return Forbidden(details)
    if code in {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT}:
        return Refused(details)
    return ControlError(f"the orchestrator at {address} answered {code.name}: {details}")


def status_of(error: AtollError) -> grpc.StatusCode:
    """The gRPC status for one of the house's errors."""
    if isinstance(error, LeaseLost):
        return grpc.StatusCode.ABORTED
    if isinstance(error, Forbidden):
        return grpc.StatusCode.PERMISSION_DENIED
    if isinstance(error, Refused):
        return grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, Busy):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    if isinstance(error, Unreachable):
        return grpc.StatusCode.UNAVAILABLE
    return grpc.StatusCode.INTERNAL
