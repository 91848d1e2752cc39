"""How an agent reaches its orchestrator: at addresses it was given, or those that a DHT tells."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from atoll.clock import Clock
from atoll.control import ControlClient
from atoll.errors import BadInput
from cluster.contact import Contact
from cluster.following import Following, Seek
from cluster.tenure import Orders
from cluster.whereabouts import Whereabouts

if TYPE_CHECKING:
    from atoll.authority import Pair
    from cluster.agent import Agent
    from cluster.certified import Certified
    from membership.dht import Dht
    from membership.record import Record

log = logging.getLogger(__name__)


class Reach:
    """One agent's way to its orchestrator, and into a DHT if it was told of peers."""

    def __init__(self, where: Whereabouts, clock: Clock) -> None:
        """Reach for nobody yet."""
        self._where = where
        self._clock = clock
        self._stack = ExitStack()
        self._member: Certified | None = None
        self._dht: Dht | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def control(self, orders: Orders, contact: Contact) -> Following | None:
        """The control plane; None if the island was told to leave before it was found.

        Raises:
            Unreachable: nobody was found for too long.
            BadInput: only a DHT could tell, and hivemind is not installed.
        """
        where, addresses = self._where, self._where.addresses
        seek: Seek = tuple
        self._dht = self._opened()
        if self._dht is not None:
            from cluster.seeking import Seeker  # noqa: PLC0415 - most agents know of no DHT

            seeker = self._stack.enter_context(Seeker(self._dht, where.who.run, self._clock))
            addresses = addresses or seeker.first(orders, contact)
            seek = seeker.addresses
        if not addresses:
            return None
        client = self._client(addresses[0])
        return Following(client, addresses, where.who.run, where.endpoint, seek)

    def announce(self, agent: Agent) -> None:
        """Let the DHT tell, from when the island has joined until it leaves, that it lives."""
        dht, member, who = self._dht, self._member, self._where.who
        if dht is None or member is None:
            return
        from membership.announcing import announced  # noqa: PLC0415
        from membership.record import Kind, Record  # noqa: PLC0415

        def saying() -> tuple[Record, Pair] | None:
            facts = {"job": agent.job} if agent.job else {}
            record = Record(Kind.ISLAND, who.run, who.full_name, facts=facts)
            return (record, member.pair) if member.pair else None

        self._stack.enter_context(announced(dht, saying))

    def _opened(self) -> Dht | None:
        where = self._where
        if not where.peers or where.token is None:
            return None
        from membership.dht import Dht  # noqa: PLC0415

        try:
            dht = Dht(where.peers, where.token.authority, self._clock)
        except BadInput as error:
            if not where.addresses:
                raise
            log.warning("goes on without a DHT", extra={"fields": {"why": str(error)}})
            return None
        return self._stack.enter_context(dht)

    def _client(self, address: str) -> ControlClient | Certified:
        where = self._where
        if where.token is None:
            return self._stack.enter_context(ControlClient(address, where.who.run))
        from cluster.certified import Certified  # noqa: PLC0415 - plain text needs no cryptography

        who, clock = where.who, self._clock
        member = Certified(address, who.run, who.name, where.token, clock, node=who.node)
        self._member = self._stack.enter_context(member)
        return member
