"""Addresses of a DHT's peers: ``host:port/p2p/ID`` as people write them, multiaddrs as peers do."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from atoll.address import split_address

_ID = r"[1-9A-HJ-NP-Za-km-z]{46,64}"  # base58, of a key's digest
_SHORT = re.compile(rf"(?P<address>[^/]+)/p2p/(?P<id>{_ID})")
_LONG = re.compile(rf"/(ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)/tcp/(?P<port>\d+)/p2p/(?P<id>{_ID})")


def as_multiaddr(text: str) -> str:
    """The address of a peer, as peers write it.

    Args:
        text: either form.

    Raises:
        ValueError: it is neither.
    """
    found = _SHORT.fullmatch(_shortened(text))
    if found:
        with suppress(ValueError):
            return f"{listening(found['address'])}/p2p/{found['id']}"
    raise ValueError(
        f"{text!r} is no peer; write it as `atoll peer` prints it, e.g. "
        "192.0.2.9:7100/p2p/12D3KooWBhMbLvQYgknqVHcRqcU8ykhpMBbyKFsmHTxwZXqzK7Hn"
    )


def as_written(multiaddr: str) -> str:
    """The address of a peer, as people write it. Raises: ValueError for what is no multiaddr."""
    short = _shortened(multiaddr)
    if short == multiaddr:
        raise ValueError(f"{multiaddr!r} is no multiaddr of a peer")
    return short


def listening(address: str) -> str:
    """Where a peer listens, as peers write it. Raises: ValueError for what is not host:port."""
    host, port = split_address(address)
    bare = host.strip("[]")
    try:
        kind = f"ip{ipaddress.ip_address(bare).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{bare}/tcp/{port}"


def _shortened(text: str) -> str:
    """The form for people, of the form for peers; whatever else it is, as it is."""
    found = _LONG.fullmatch(text)
    if found is None:
        return text
    host = f"[{found['host']}]" if ":" in found["host"] else found["host"]
    return f"{host}:{found['port']}/p2p/{found['id']}"
