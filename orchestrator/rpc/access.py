"""Who may call what, as pure decisions.

==================  ======================================================================
an operator         ``Operators``; reflection, where that is served
an island           ``Islands``, for itself and under its own lease; ``Identities``, to stay itself;
                    of several nodes each for itself, and under the lease of their island
a join token        ``Identities``, to become the island it is for
a gateway, and      ``Registry``: a record counts for who has signed it, whoever brings it
a server
all of them         health
==================  ======================================================================

Nobody without a certificate of the lab's authority gets past the handshake, and who was revoked may
call nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.errors import Forbidden
from atoll.identity import Identity, Kind
from atoll.revocations import Revocation
from atoll.wire.v1 import control_pb2, identity_pb2, membership_pb2

HEALTH = "grpc.health.v1.Health"
_REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
_MAY_CALL = {
    control_pb2.DESCRIPTOR.services_by_name["Operators"].full_name: {Kind.OPERATOR},
    control_pb2.DESCRIPTOR.services_by_name["Islands"].full_name: {Kind.ISLAND},
    identity_pb2.DESCRIPTOR.services_by_name["Identities"].full_name: {Kind.ISLAND, Kind.JOIN},
    membership_pb2.DESCRIPTOR.services_by_name["Registry"].full_name: {
        Kind.OPERATOR,
        Kind.GATEWAY,
        Kind.SERVER,
    },
    _REFLECTION: {Kind.OPERATOR},
    HEALTH: set(Kind),
}


def refuse_stranger(
    caller: Identity, run: str, service: str, request: Any, revoked: Mapping[str, Revocation]
) -> None:
    """Refuse a call that its caller may not make.

    Args:
        caller: who calls, as the certificate says.
        run: name of the run that is served.
        service: full name of the service called.
        request: the message.
        revoked: who is shut out, by URI.

    Raises:
        Forbidden: with the reason, which tells nothing but what the caller knows.
    """
    if caller.kind not in _MAY_CALL.get(service, ()):
        raise Forbidden(f"{caller} may not call {service.rpartition('.')[2]}")
    as_itself = caller.is_of_lab or service == HEALTH
    island = caller.name if as_itself else _island_of(request)
    if caller.shut_out_as(island) & revoked.keys():
        raise Forbidden(f"{caller} was revoked")
    if as_itself:
        return
    if caller.run != run:
        raise Forbidden(f"{caller} is of another run")
    node = request.node if "node" in request.DESCRIPTOR.fields_by_name else caller.node
    if not caller.may_be(island, node):
        whom = f"{island}/{node}" if node else island
        raise Forbidden(f"{caller} may not speak for {whom[:100] or 'nobody'}")


def _island_of(request: Any) -> str:
    """Whom a message of an island is about."""
    named = request.lease if "lease" in request.DESCRIPTOR.fields_by_name else request
    island: str = named.island
    return island
