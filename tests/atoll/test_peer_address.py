from __future__ import annotations

import pytest

from atoll.peer_address import as_multiaddr, as_written

ID = "12D3KooWJ6H9xRGmhcVTt96RB2SygpWeHsafs5VNAVyQT9UTCfHk"


@pytest.mark.parametrize(
    ("written", "multiaddr"),
    [
        (f"192.0.2.9:7100/p2p/{ID}", f"/ip4/192.0.2.9/tcp/7100/p2p/{ID}"),
        (f"[2001:db8::1]:7100/p2p/{ID}", f"/ip6/2001:db8::1/tcp/7100/p2p/{ID}"),
        (f"lab.example.org:7100/p2p/{ID}", f"/dns/lab.example.org/tcp/7100/p2p/{ID}"),
    ],
    ids=["IPv4", "IPv6", "name"],
)
def test_peer_address_is_understood_as_people_and_as_peers_write_it(written, multiaddr):
    assert as_multiaddr(written) == as_multiaddr(multiaddr) == multiaddr
    assert as_written(multiaddr) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.9:7100",
        f"192.0.2.9/p2p/{ID}",
        f"a:99999/p2p/{ID}",
        "a:1/p2p/0OIl",
        f"/ip4/a/udp/1/p2p/{ID}",
    ],
    ids=["nothing", "no ID", "no port", "no such port", "no base58", "not TCP"],
)
def test_peer_address_that_is_none_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"is no peer; write it as `atoll peer` prints it, e\.g\."):
        as_multiaddr(text)
