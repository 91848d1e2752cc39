"""The addresses of this machine."""

from __future__ import annotations

import ipaddress
import socket

import psutil

from atoll.address import split_address


def addresses_of_this_machine() -> list[str]:
    """Those that others can name; of the links alone there are none."""
    found = [each.address for of in psutil.net_if_addrs().values() for each in of]
    return [address for address in found if _is_plain(address)]


def address_towards(orchestrator: str) -> str:
    """At which this machine is seen from where an orchestrator is; loopback if that is unknown.

    Args:
        orchestrator: ``host:port``. Nothing is sent there.
    """
    host, port = split_address(orchestrator)
    try:
        family, kind, *_, where = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(where)
            address: str = probe.getsockname()[0]
            return address
    except OSError:
        return "127.0.0.1"


def _is_plain(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_link_local
    except ValueError:
        return False
