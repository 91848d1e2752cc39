"""Ports are told apart from those that somebody has, by number and by name."""

from __future__ import annotations

import socket

import pytest

from atoll.errors import BadInput
from atoll.ports import listening_on, refuse_taken


@pytest.mark.parametrize(
    ("listen", "family"),
    [
        ("127.0.0.1:0", socket.AF_INET),
        ("0.0.0.0:0", socket.AF_INET),
        ("[::1]:0", socket.AF_INET6),
        ("localhost:0", socket.AF_INET),
    ],
)
def test_address_is_listened_on_in_its_own_family(
    listen: str, family: socket.AddressFamily
) -> None:
    with listening_on(listen) as listening:
        assert listening.family == family
        loopback = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]
        socket.create_connection((loopback, listening.getsockname()[1])).close()


def test_port_that_is_free_is_left_free() -> None:
    with listening_on("127.0.0.1:0") as listening:
        listen = f"127.0.0.1:{listening.getsockname()[1]}"
    refuse_taken(listen, "serving.listen")
    listening_on(listen).close()


@pytest.mark.parametrize(
    ("otherwise", "mend"),
    [
        ("", "set web.at to another, or to port 0 for any free one"),
        ('to "" for none', 'set web.at to another, to port 0 for any free one, or to "" for none'),
    ],
)
def test_port_that_is_taken_is_refused_by_key_and_mend(otherwise: str, mend: str) -> None:
    with listening_on("127.0.0.1:0") as listening:
        port = listening.getsockname()[1]
        with pytest.raises(BadInput) as refused:
            refuse_taken(f"127.0.0.1:{port}", "web.at", otherwise)
    words = f"port {port} on 127.0.0.1 is in use, or is not this machine's; {mend}"
    assert str(refused.value) == words


def test_host_of_no_name_here_is_refused_likewise() -> None:
    with pytest.raises(BadInput, match=r"port 80 on no\.such\.host\.invalid is in use, or is not"):
        refuse_taken("no.such.host.invalid:80", "web.at")
