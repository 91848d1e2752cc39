"""What an agent is told of its orchestrator and of itself, checked before anything starts."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll import identity
from atoll.address import refuse_open, split_address
from atoll.errors import BadInput
from atoll.gangs import GangNode
from atoll.identity import Identity
from atoll.peer_address import as_multiaddr
from cluster.own_address import address_towards, addresses_of_this_machine

if TYPE_CHECKING:
    from atoll.join_token import JoinToken


@dataclass(frozen=True, slots=True)
class Flags:
    """What ``atoll agent`` was called with, see there; "" or None where it was not."""

    orchestrator: str = ""
    peers: Sequence[str] = ()
    run: str = ""
    island: str = ""
    node: str = ""
    address: str = ""
    endpoint: Path | None = None
    join: Path | None = None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where an orchestrator may be, and who calls it.

    Attributes:
        addresses: ``host:port`` of each that may lead; () to have it looked for.
        peers: of a DHT that tells where it is.
        who: island, or node of one, that calls.
        node: the same, for the island's other nodes; None where it has but one.
        endpoint: file where a later orchestrator of this machine leaves its address, if any.
        token: what lets the island join; None where calls are in plain text.
    """

    addresses: Sequence[str]
    peers: Sequence[str]
    who: Identity
    node: GangNode | None
    endpoint: Path | None
    token: JoinToken | None


def whereabouts(flags: Flags) -> Whereabouts:
    """What the flags say; run and island are the token's where they say none.

    Raises:
        BadInput: one cannot be used, or is needed and missing.
    """
    token = _token(flags.join)
    addresses = _addresses(flags.orchestrator, secured=token is not None)
    _refuse_unusable_peers(flags.peers, token)
    if not addresses and not flags.peers:
        raise BadInput("--orchestrator: give where it listens, or with --peer who can tell")
    node = _node(flags.node, flags.address, addresses)
    who = _identity(flags, token, node.name if node else "")
    return Whereabouts(addresses, flags.peers, who, node, flags.endpoint, token)


def _token(join: Path | None) -> JoinToken | None:
    if join is None:
        return None
    # Only now, because calls in plain text do without any cryptography.
    from atoll.join_token import JoinToken  # noqa: PLC0415

    return JoinToken.read(join)


def _addresses(text: str, *, secured: bool) -> list[str]:
    """Those given with commas between them. Raises: BadInput for what is none."""
    addresses = [each.strip() for each in text.split(",")] if text else []
    for address in addresses:
        try:
            _, port = split_address(address)
        except ValueError as error:
            raise BadInput(f"--orchestrator: {error}") from error
        if not port:
            raise BadInput(f"--orchestrator: {address!r} names no port; give the one it listens at")
        try:
            refuse_open(address, secured=secured)
        except ValueError as error:
            raise BadInput(
                f"--orchestrator: {address!r} is on another machine, and calls would be in plain "
                "text; give the file of a join token with --join, see `atoll token`"
            ) from error
    return addresses


def _refuse_unusable_peers(peers: Sequence[str], token: JoinToken | None) -> None:
    if peers and token is None:
        raise BadInput(
            "--peer: what a DHT tells is believed for its signature alone, by the authority in a "
            "join token; give its file with --join, see `atoll token`"
        )
    for peer in peers:
        try:
            as_multiaddr(peer)
        except ValueError as error:
            raise BadInput(f"--peer: {error}") from error


def _node(name: str, address: str, orchestrators: Sequence[str]) -> GangNode | None:
    """Which node of its island this is; None where that has but one. Raises: BadInput."""
    if not name:
        return None
    known = addresses_of_this_machine()
    if address and address not in known:
        raise BadInput(f"--address: {address!r} is none of this machine's: {', '.join(known)}")
    if not address and not orchestrators:
        raise BadInput(f"--address: give one that the other nodes call, of {', '.join(known)}")
    # So that no two starts of one are taken for each other.
    started = f"{name}-{secrets.token_hex(2)}"
    return GangNode(started, address or address_towards(orchestrators[0]))


def _identity(flags: Flags, token: JoinToken | None, node: str) -> Identity:
    run, island = flags.run, flags.island
    if token is not None:
        run, island = run or token.identity.run, island or token.identity.island
    if not run:
        raise BadInput("--run: give the run's name, or a join token for it with --join")
    if not island:
        raise BadInput("--island: give a name that no other island of the run ever had")
    try:
        return identity.island(run, island, node)
    except ValueError as error:
        raise BadInput(f"--island{' and --node' if node else ''}: {error}") from error
