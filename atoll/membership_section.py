"""The section of the configuration file about the DHT in which a run is found."""

from __future__ import annotations

from pydantic import Field, field_validator

from atoll.peer_address import as_multiaddr
from atoll.section import Section


class MembershipSection(Section):
    """Where a run is found again, on whatever host its orchestrator is."""

    peers: tuple[str, ...] = Field(
        (), description="peers of a DHT, as `atoll peer` prints them; needs orchestrator.tls"
    )

    @field_validator("peers")
    @classmethod
    def _each_can_be_called(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            as_multiaddr(peer)
        return peers
