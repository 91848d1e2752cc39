"""The registry's wire: where servers of experts tell of themselves, and gateways find them."""

from __future__ import annotations

from typing import Any

from atoll import codec
from atoll.errors import Refused
from atoll.wire.v1 import membership_pb2 as wire
from atoll.wire.v1 import membership_pb2_grpc as rpc
from membership.found import believed
from membership.record import Forged, Kind
from orchestrator.rpc.security import Security
from orchestrator.servers import Servers


class RegistryServicer(rpc.RegistryServicer):
    """Believes records for their signatures, whoever brings them."""

    def __init__(self, servers: Servers, security: Security | None) -> None:
        """Serve a registry.

        Args:
            servers: that are known.
            security: tells whose word counts; None for plain text, on loopback only.
        """
        self._servers, self._security = servers, security
        if security is not None:
            servers.heed(security.revoked)

    def Announce(self, request: wire.AnnounceRequest, _: Any) -> wire.AnnounceResponse:  # noqa: N802
        """Keep a record."""
        data, security = request.record.SerializeToString(), self._security
        try:
            record = believed(data, security.registrar.authority if security else None)
        except Forged as error:
            raise Refused(f"the record is not believed: {error}") from error
        if record.kind is not Kind.EXPERTS:
            raise Refused(f"the record is of {record.kind} {record.name}, and none of a server")
        if security is not None and record.by in security.revoked():
            raise Refused(f"the record is not believed: {security.revoked()[record.by]}")
        self._servers.keep(record, data)
        return wire.AnnounceResponse()

    def Find(self, request: wire.FindRequest, _: Any) -> wire.FindResponse:  # noqa: N802
        """All records of a run; of other kinds than servers of experts there are none."""
        run = codec.required(request.run, "run")
        held = self._servers.told(run) if request.kind == Kind.EXPERTS else []
        return wire.FindResponse(records=map(wire.SignedRecord.FromString, held))
