"""Who may call what, as pure decisions.

==================  ======================================================================
an operator         ``Operators``
an island           ``Islands``, for itself and under its own lease; ``Identities``, to stay itself
a join token        ``Identities``, to become the island it is for
all three           health
==================  ======================================================================

Nobody without a certificate of the lab's authority gets past the handshake.
"""

from __future__ import annotations

from typing import Any

from atoll.errors import Forbidden
from atoll.identity import Identity, Kind
from atoll.wire.v1 import control_pb2, identity_pb2

HEALTH = "grpc.health.v1.Health"
_MAY_CALL = {
    control_pb2.DESCRIPTOR.services_by_name["Operators"].full_name: {Kind.OPERATOR},
    control_pb2.DESCRIPTOR.services_by_name["Islands"].full_name: {Kind.ISLAND},
    identity_pb2.DESCRIPTOR.services_by_name["Identities"].full_name: {Kind.ISLAND, Kind.JOIN},
    HEALTH: set(Kind),
}


def refuse_stranger(caller: Identity, run: str, service: str, request: Any) -> None:
    """Refuse a call that its caller may not make.

    Args:
        caller: who calls, as the certificate says.
        run: name of the run that is served.
        service: full name of the service called.
        request: the message.

    Raises:
        Forbidden: with the reason, which tells nothing but what the caller knows.
    """
    if caller.kind not in _MAY_CALL.get(service, ()):
        raise Forbidden(f"{caller} may not call {service.rpartition('.')[2]}")
    if caller.kind is Kind.OPERATOR or service == HEALTH:
        return
    if caller.run != run:
        raise Forbidden(f"{caller} is of another run")
    island = _island_of(request)
    if not caller.may_be(island):
        raise Forbidden(f"{caller} may not speak for {island[:100] or 'nobody'}")


def _island_of(request: Any) -> str:
    """Whom a message of an island is about."""
    named = request.lease if "lease" in request.DESCRIPTOR.fields_by_name else request
    island: str = named.island
    return island
