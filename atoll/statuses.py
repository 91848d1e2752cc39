"""The house's errors as statuses of gRPC, and back."""

from __future__ import annotations

import grpc

from atoll.errors import (
    AtollError,
    BadInput,
    Busy,
    ControlError,
    Forbidden,
    LeaseLost,
    NotFound,
    OverBudget,
    Refused,
    Unreachable,
)

TOLD = "atoll-told"  # in the metadata of a status that the server gave, and not gRPC

# From the particular to the general. Of several statuses for one error, the first is told.
_STATUSES: tuple[tuple[type[AtollError], tuple[grpc.StatusCode, ...]], ...] = (
    (LeaseLost, (grpc.StatusCode.ABORTED,)),
    (Forbidden, (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)),
    (OverBudget, (grpc.StatusCode.OUT_OF_RANGE,)),
    (Refused, (grpc.StatusCode.FAILED_PRECONDITION,)),
    (BadInput, (grpc.StatusCode.INVALID_ARGUMENT,)),
    (NotFound, (grpc.StatusCode.NOT_FOUND,)),
    (Busy, (grpc.StatusCode.RESOURCE_EXHAUSTED,)),
    (
        Unreachable,
        (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.CANCELLED,
        ),
    ),
)


def error_of(code: grpc.StatusCode, details: str, who: str) -> AtollError:
    """The house's error for a gRPC status; :func:`status_of` is its inverse.

    Args:
        code: the status.
        details: its words.
        who: was called, in words.
    """
    for kind, codes in _STATUSES:
        if code in codes:
            if kind is Unreachable:
                details = f"{who} does not answer ({details})"
            return kind(details)
    return ControlError(f"{who} answered {code.name}: {details}")


def status_of(error: AtollError) -> grpc.StatusCode:
    """The gRPC status for one of the house's errors."""
    told = (codes[0] for kind, codes in _STATUSES if isinstance(error, kind))
    return next(told, grpc.StatusCode.INTERNAL)
