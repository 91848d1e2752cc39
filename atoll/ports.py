"""Ports that somebody else may listen on."""

from __future__ import annotations

import socket

from atoll.address import split_address
from atoll.errors import BadInput


def listening_on(listen: str, backlog: int | None = None) -> socket.socket:
    """A socket that listens.

    Args:
        listen: ``host:port``; port 0 takes any free one.
        backlog: connections that may wait to be taken; None leaves that to the system.

    Raises:
        OSError: the port cannot be had.
    """
    host, port = split_address(listen)
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    # A name may stand for both; then the older family, as most callers take it.
    family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return socket.create_server(address, family=family, backlog=backlog)


def refuse_taken(listen: str, key: str, otherwise: str = "") -> None:
    """Refuse a port that cannot be had, before anything is made ready that would answer at it.

    Args:
        listen: ``host:port``.
        key: of the configuration, that says so.
        otherwise: what else the key may be set to.

    Raises:
        BadInput: names the port and the key.
    """
    try:
        listening_on(listen).close()
    except OSError as error:
        raise taken(listen, key, otherwise) from error


def taken(listen: str, key: str, otherwise: str = "") -> BadInput:
    """What is said of a port that cannot be had; see :func:`refuse_taken`."""
    host, port = split_address(listen)
    others = f"another, to port 0 for any free one, or {otherwise}"
    if not otherwise:
        others = "another, or to port 0 for any free one"
    return BadInput(
        f"port {port} on {host} is in use, or is not this machine's; set {key} to {others}"
    )
