"""Addresses as people write them: ``host:port``."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator


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


def loopback(text: str) -> str:
    """The address itself, if nobody beyond this machine can reach it.

    Raises:
        ValueError: others could, or it is no address.
    """
    host, _ = split_address(text)
    if host != "localhost" and not _is_loopback(host.strip("[]")):
        raise ValueError(
            f"{text!r} could be reached from other machines, and calls are not secured yet; "
            "listen on 127.0.0.1 or [::1]"
        )
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


LoopbackAddress = Annotated[str, AfterValidator(loopback)]
