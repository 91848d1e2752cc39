"""Addresses as people write them: ``host:port``."""

from __future__ import annotations

import ipaddress


def split_address(text: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        ValueError: it is not written so.
    """
    host, colon, port = text.rpartition(":")
    number = port.isascii() and port.isdecimal() and int(port) <= 65535
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not number or bare:
        raise ValueError(
            f"{text!r} is no address; write it as host:port, e.g. 127.0.0.1:0 or [::1]:0"
        )
    return host, int(port)


def refuse_beyond_loopback(text: str) -> None:
    """Refuse to listen where others could look on.

    Raises:
        ValueError: others could reach it, or it is no address.
    """
    if not is_loopback(text):
        raise ValueError(
            f"{text!r} could be reached from other machines, and whoever looks on is not asked who "
            "they are; listen on 127.0.0.1 or [::1], and come through a tunnel (ssh -L)"
        )


def refuse_open(
    text: str,
    *,
    secured: bool,
    mend: str = "set orchestrator.tls to a folder that `atoll certs` made",
) -> None:
    """Refuse to listen where others could call in plain text, or unasked who they are.

    Args:
        text: ``host:port``.
        secured: whether calls are encrypted, and callers have to show who they are.
        mend: what secures them.

    Raises:
        ValueError: others could reach it and calls are not secured, or it is no address.
    """
    if not is_loopback(text) and not secured:
        raise ValueError(
            f"{text!r} could be reached from other machines, and calls are in plain text; {mend}, "
            "or listen on 127.0.0.1 or [::1]"
        )


def answers_at(host: str, port: int) -> str:
    """The address at which this machine calls who listens; all addresses of it have loopback."""
    ip = _ip(host)
    if ip and ip.is_unspecified:
        host = "127.0.0.1" if ip.version == 4 else "[::1]"
    return f"{host}:{port}"


LOOPBACK = ("localhost", "127.0.0.1", "::1")  # by which this machine calls itself


def is_loopback(text: str) -> bool:
    """Whether only this machine can call an address. Raises: ValueError, it is none."""
    host, _ = split_address(text)
    ip = _ip(host)
    return host == "localhost" or bool(ip and ip.is_loopback)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a host is; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
