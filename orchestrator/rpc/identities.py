"""The service by which nodes become islands, and stay them.

By its name alone a caller may be an island, see :mod:`orchestrator.rpc.access`. Here the fleet has
a say: what its islands are like, and which are over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from atoll.errors import Forbidden
from atoll.identity import Identity, Kind
from atoll.rpc.shown import shown
from atoll.wire.v1 import identity_pb2 as wire
from atoll.wire.v1 import identity_pb2_grpc as rpc
from orchestrator.service import FleetService

if TYPE_CHECKING:
    from orchestrator.rpc.registrar import Registrar


class IdentitiesServicer(rpc.IdentitiesServicer):
    """Gives certificates to those who may be islands of a fleet."""

    def __init__(self, service: FleetService, registrar: Registrar) -> None:
        self._service = service
        self._registrar = registrar

    def Certify(  # noqa: N802
        self, request: wire.CertifyRequest, context: grpc.ServicerContext
    ) -> wire.CertifyResponse:
        """A certificate, the first or a renewed one."""
        caller, _ = shown(context)
        assert caller is not None  # or the call would not have been let in
        if request.node and self._service.fleet.policy.max_nodes == 1:
            raise Forbidden(
                f"{caller} may not speak for nodes: the run's islands have one each; set "
                "island.nodes, or start the agent without --node"
            )
        if caller.kind is Kind.JOIN:
            self._refuse_join(caller, request.island)
        given = self._registrar.certify(request.island, request.node, request.signing_request)
        return wire.CertifyResponse(certificate=given)

    def _refuse_join(self, token: Identity, island: str) -> None:
        of = token.island or island
        if island != of and not self._service.fleet.policy.requeues:
            raise Forbidden(f"{token} may not speak for {island}: no island is started again here")
        if self._service.is_over(of):
            raise Forbidden(f"{of} is over, and its name is not given again")
