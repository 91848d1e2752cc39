"""``atoll certs``: a folder of certificates, with which a lab's control plane knows its own."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll import authority
from atoll.address import LOOPBACK
from atoll.authority import DAY_S, Pair
from atoll.command import JsonOption, show
from atoll.credentials import CA, OPERATOR, SERVER, read_pair, write_pair
from atoll.errors import BadInput
from atoll.identity import OWN, Identity
from atoll.identity import gateway as gateway_named
from atoll.identity import operator as operator_named
from atoll.identity import server as server_named
from atoll.private_files import write_private
from atoll.revocations import read_revocations

_CA_S = 3650 * DAY_S
_RENEW_S = 30 * DAY_S
_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*")


def certs(
    folder: Annotated[Path, typer.Argument(help="Where they are, or are to be.")],
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or name at which islands call the orchestrator, or others a service. "
            "Repeatable."
        ),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(help="Make a folder to hand to this operator. Repeatable."),
    ] = None,
    gateway: Annotated[
        list[str] | None,
        typer.Option(help="Make a folder to hand to this gateway, see atoll serve. Repeatable."),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            help="Make a folder to hand to a server of experts on this host, see atoll "
            "serve-expert. Repeatable."
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option(min=1, max=3650, help="How long they last, but for the authority's."),
    ] = 365,
    json_: JsonOption = False,
) -> None:
    """Make a private certificate authority, and certificates for servers, operators and gateways.

    The folder is for `orchestrator.tls`, `serving.tls` and `expert_server.tls`.
    The same command again keeps the authority, and makes anew what ends within 30 days.
    """
    hosts, lasting, now = _hosts(host or ()), days * DAY_S, time.time()
    made = [*named(operator_named, operator or ()), *named(gateway_named, gateway or ())]
    at = dict(zip(_servers(server or ()), server or (), strict=True))
    revoked = read_revocations(folder)
    for who in [*made, *at]:
        if who.uri in revoked:
            raise BadInput(f"--{who.kind}: {revoked[who.uri]}; give them another name")
    try:
        ca = _kept(folder, CA) or _keep(folder, CA, authority.new_authority(now, _CA_S))
        served = _kept(folder, SERVER)
        if hosts or served is None or authority.seconds_left(served.certificate, now) < _RENEW_S:
            kept = authority.hosts_in(served.certificate) if served else []
            every = list(dict.fromkeys([*LOOPBACK, *(hosts or kept)]))
            pair = authority.for_hosts(ca, every, now, lasting, server_named(OWN))
            served = _keep(folder, SERVER, pair)
        own = _kept(folder, OPERATOR)
        if own is None or authority.seconds_left(own.certificate, now) < _RENEW_S:
            local = authority.for_identity(ca, operator_named(OWN), now, lasting)
            own = _keep(folder, OPERATOR, local)
        rows = [
            _row("ca.crt", "whom all trust", ca),
            _row("server.crt", ", ".join(authority.hosts_in(served.certificate)), served),
            _row("operator.crt", "commands given here", own),
        ]
        for who in [*made, *at]:
            if who in at:
                pair = authority.for_hosts(ca, [at[who]], now, lasting, who)
            else:
                pair = authority.for_identity(ca, who, now, lasting)
            place = folder / f"{who.kind}s" / who.name
            theirs = _keep(place, who.kind, pair)
            write_private(place / f"{CA}.crt", ca.certificate_pem)
            rows.append(_row(str(place.relative_to(folder)), str(who), theirs))
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from error
    keys = "orchestrator.tls, serving.tls or expert_server.tls"
    show(f"certificates; set {keys} to {folder}", rows, as_json=json_)


def named(make: Callable[[str], Identity], names: Sequence[str], flag: str = "") -> list[Identity]:
    """Whom the names of a flag mean; that of who makes them, if none is given. Raises: BadInput."""
    try:
        return [make(name) for name in names]
    except ValueError as error:
        raise BadInput(f"--{flag or make.__name__}: {error}") from error


def _servers(hosts: Sequence[str]) -> list[Identity]:
    refuse_own(hosts, "server", "serves from the folder itself")
    return named(server_named, _hosts(hosts, "--server"), "server")


def refuse_own(names: Sequence[str], flag: str, what: str) -> None:
    """Refuse the name of who is beside the authority's own key.

    Args:
        names: that were given.
        flag: by which.
        what: they do there, in words.

    Raises:
        BadInput: it is among them.
    """
    if OWN in names:
        raise BadInput(
            f"--{flag}: {OWN} is who {what}, beside ca.key; give another name, or, if that was "
            "stolen, make a new folder with `atoll certs`"
        )


def _hosts(given: Sequence[str], flag: str = "--host") -> list[str]:
    for host in given:
        if not _NAME.fullmatch(host) and not _is_address(host):
            raise BadInput(
                f"{flag} {host}: write an address or a host name without a port, "
                "e.g. 192.0.2.7 or lab.example.org"
            )
    return list(given)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _kept(folder: Path, name: str) -> Pair | None:
    """What is there already; never replaced by accident if it cannot be read."""
    files = [folder / f"{name}.{ending}" for ending in ("crt", "key")]
    missing = [file.name for file in files if not file.exists()]
    if len(missing) == 1:
        raise BadInput(
            f"{folder} has no {missing[0]}; put it back, or remove the other half and run the same "
            "again to have both made anew"
        )
    return None if missing else read_pair(folder, name)


def _keep(folder: Path, name: str, pair: Pair) -> Pair:
    write_pair(folder, name, pair)
    return pair


def _row(file: str, what: str, pair: Pair) -> dict[str, Any]:
    until = pair.certificate.not_valid_after_utc.astimezone(UTC)
    return {"file": file, "for": what, "until": f"{until:%Y-%m-%d}"}
