"""The address at which others call a server of this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from atoll.address import LOOPBACK, answers_at, split_address
from atoll.expert_server_section import ExpertServerSection
from atoll.sections import OrchestratorSection


def outward(settings: OrchestratorSection | ExpertServerSection, address: str) -> str:
    """One of its certificate's hosts, if it listens beyond this machine at all.

    Args:
        settings: where it was told to listen, and as whom.
        address: at which this machine calls it.

    Raises:
        ConfigError: there is no certificate.
    """
    host, _ = split_address(settings.listen)
    port = split_address(address)[1]
    if not settings.tls or answers_at(host, port) == f"{host}:{port}":
        return address
    from atoll.authority import hosts_in  # noqa: PLC0415 - plain servers need no cryptography
    from atoll.credentials import SERVER, read_certificate  # noqa: PLC0415

    named = hosts_in(read_certificate(Path(settings.tls) / f"{SERVER}.crt"))
    beyond = [each for each in named if each not in LOOPBACK]
    # Several servers may share one certificate: each tells its own host.
    found = next(filter(_is_this_machine, beyond), beyond[0] if beyond else socket.gethostname())
    return f"[{found}]:{port}" if ":" in found else f"{found}:{port}"


def _is_this_machine(host: str) -> bool:
    """Whether a name or address is one of this machine's own."""
    if host in {socket.gethostname(), socket.getfqdn()}:
        return True
    own = {each.address for of in psutil.net_if_addrs().values() for each in of}
    try:
        return any(str(found[4][0]) in own for found in socket.getaddrinfo(host, None))
    except OSError:
        return False
