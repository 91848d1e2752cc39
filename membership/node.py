"""A node of the DHT, by hivemind. Its import takes seconds: it has torch in tow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from google.protobuf.message import DecodeError
from hivemind.dht import DHTID, DHTNode
from hivemind.dht.storage import DictionaryDHTValue
from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError
from hivemind.utils.logging import use_hivemind_log_handler

from atoll.address import split_address
from atoll.errors import BadInput, Unreachable
from atoll.peer_address import as_written
from atoll.private_files import read_private
from membership.record import Forged
from membership.validator import Signed, unpacked

_PATIENCE_S = 2.0  # for one answer
_PROBE_S = 0.5
_LEAVE_S = 5.0
_REPLICAS = 20  # a record stands at so many peers: one that lies, or is lost, hides nothing
_UNREACHED = "failed to connect to bootstrap peers"

use_hivemind_log_handler("nowhere")
logging.getLogger("hivemind").setLevel(logging.ERROR)  # warns of every peer that is away
logging.getLogger("asyncio").setLevel(logging.ERROR)  # warns where a daemon ends last of all


class Node:
    """One participant: a peer, which keeps what others announce, or a client of some."""

    def __init__(self, node: DHTNode) -> None:
        """See :meth:`keeping` and :meth:`calling`."""
        self._node = node

    @classmethod
    async def keeping(
        cls,
        listen: str,
        identity: Path,
        authorities: Sequence[x509.Certificate],
        others: Sequence[str] = (),
    ) -> Self:
        """A peer that others call.

        Args:
            listen: a multiaddr.
            identity: file of the key that its ID follows from; made if it is not there.
            authorities: whose records it keeps, and nobody else's.
            others: multiaddrs of peers to join.

        Raises:
            Unreachable: none of the others answers.
            BadInput: it cannot listen there, or the file holds no key, or one that others can read.
        """
        if identity.exists():
            _refuse_no_key(identity)
        return cls(
            await _made(
                others,
                host_maddrs=[listen],
                identity_path=str(identity),
                check_if_identity_free=False,
                record_validator=Signed(authorities),
            )
        )

    @classmethod
    async def calling(cls, peers: Sequence[str]) -> Self:
        """A client, which nobody can call.

        Args:
            peers: multiaddrs of some; the others are found by them.

        Raises:
            Unreachable: none of them answers.
        """
        return cls(await _made(peers, client_mode=True, no_listen=True))

    async def close(self) -> None:
        """Leave; where its daemon was told to end as well, nobody answers that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._node.shutdown(), _LEAVE_S)

    async def addresses(self) -> list[str]:
        """Multiaddrs at which it is called."""
        return [str(address) for address in await self._node.get_visible_maddrs()]

    @property
    def is_alone(self) -> bool:
        """Whether it knows no other peer, or none any more."""
        return not self._node.protocol.routing_table.uid_to_peer_id

    async def greet(self) -> None:
        """Call the others, who so learn that it is there; those who do not answer are forgotten.

        Raises:
            Unreachable: its own daemon has ended.
        """
        try:
            await self._node.get_visible_maddrs(latest=True)
        except OSError as error:
            raise Unreachable("the peer's daemon has ended; start it again") from error
        await self._node.find_nearest_nodes([DHTID.generate()])

    async def announce(self, key: str, name: str, record: bytes, until: float) -> None:
        """Write a record to all peers near its key. Raises: Unreachable, none has taken it."""
        if not await self._node.store(key, record, until, subkey=name, exclude_self=True):
            raise Unreachable("no peer has taken the record")

    async def find(self, key: str) -> list[bytes]:
        """All records that any peer near a key holds, unread.

        Every peer is asked, because hivemind's own ``get`` ends with the first who claims to hold
        what never expires.

        Raises:
            Unreachable: no peer answers.
        """
        place = DHTID.generate(source=key)
        near = await self._node.find_nearest_nodes([place], exclude_self=True)
        calls = [self._node.protocol.call_find(peer, [place]) for peer in near[place].values()]
        answers = [answer for answer in await asyncio.gather(*calls) if answer]
        if not answers:
            raise Unreachable("no peer answers")
        held = [found.value for answer in answers for found, _ in answer.values() if found]
        return list(dict.fromkeys(each for value in held for each in _records_in(value)))


def _refuse_no_key(identity: Path) -> None:
    try:
        PeerID.from_identity(read_private(identity))
    except (DecodeError, ValueError, TypeError) as error:
        raise BadInput(
            f"{identity} holds no key of a peer; name a file that is not there"
        ) from error


def _records_in(value: Any) -> list[bytes]:
    if not isinstance(value, DictionaryDHTValue):
        return []
    found = []
    for stored in value.data.values():
        with suppress(Forged):
            found.append(unpacked(stored.value))
    return found


def sockets_in(folder: Path) -> None:
    """Speak to daemons there: hivemind does in /tmp, and leaves a file for each that fails."""
    P2P._UNIX_SOCKET_PREFIX = f"/unix{folder}/"


async def any_listens(peers: Sequence[str]) -> bool:
    """Whether anybody does at any of these multiaddrs; cheaper to ask than a daemon to start."""
    for peer in peers:
        host, port = split_address(as_written(peer).partition("/")[0])
        with suppress(OSError, TimeoutError):
            calling = asyncio.open_connection(host.strip("[]"), port)
            _, writer = await asyncio.wait_for(calling, _PROBE_S)
            writer.close()
            return True
    return False


async def _made(peers: Sequence[str], **how: Any) -> DHTNode:
    if peers and not await any_listens(peers):
        raise _nobody(peers)
    try:
        node = await DHTNode.create(
            initial_peers=list(peers),
            num_replicas=_REPLICAS,
            wait_timeout=_PATIENCE_S,
            blacklist_time=0,  # where there are few, one that comes back is asked at once
            cache_locally=False,
            cache_nearest=0,
            cache_on_store=False,
            ensure_bootstrap_success=False,  # said below
            strict=False,
            nat_port_map=False,  # nobody opens ports of a router unasked
            auto_nat=False,
            use_relay=False,
            **how,
        )
    except P2PDaemonError as error:
        if _UNREACHED in str(error):
            raise _nobody(peers) from error
        raise BadInput(f"the peer does not start: {_last_words(error)}") from error
    if peers and not node.protocol.routing_table.uid_to_peer_id:
        await node.shutdown()
        raise _nobody(peers)
    return node


def _nobody(peers: Sequence[str]) -> Unreachable:
    shown = ", ".join(as_written(peer) for peer in peers)
    return Unreachable(f"of the peers {shown} none answers")


def _last_words(error: P2PDaemonError) -> str:
    """What the daemon said, without its date."""
    said = str(error).removeprefix("Daemon failed to start: ")
    return said[20:] if said[:4].isdecimal() else said
