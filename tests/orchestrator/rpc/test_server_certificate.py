"""A server whose certificate is renewed while it serves, over real connections."""

from __future__ import annotations

import logging
import socket
import ssl
import time

import pytest

from atoll import authority, identity
from atoll.authority import Pair
from atoll.credentials import SERVER, write_pair
from atoll.errors import ConfigError
from orchestrator.rpc.server_certificate import ServerCertificate


@pytest.fixture
def shown(lab, tmp_path):
    """The certificate that the server shows now, as a caller meets it."""
    alice = lab.pair(identity.operator("alice"))
    (tmp_path / "alice.pem").write_bytes(alice.key_pem + alice.certificate_pem)
    context = ssl.create_default_context(cadata=lab.ca.certificate_pem.decode())
    context.load_cert_chain(tmp_path / "alice.pem")
    context.set_alpn_protocols(["h2"])

    def look() -> bytes:
        host, port = lab.address.split(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            return wrapped.getpeercert(binary_form=True)

    return look


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate_pem.decode())


def renewed(lab, seconds: float = 3600, hosts: tuple[str, ...] = ("127.0.0.1",)) -> Pair:
    return authority.for_hosts(lab.ca, hosts, time.time(), seconds)


def test_server_takes_each_renewed_certificate_and_keeps_its_callers(lab, shown, caplog):
    caplog.set_level(logging.INFO)
    with lab.client(identity.operator("alice")) as before:
        before.fleet()
        assert shown() == der(lab.server)
        for _ in range(3):
            pair = renewed(lab)
            write_pair(lab.folder, SERVER, pair)
            assert shown() == shown() == der(pair)
            with lab.client(identity.operator("bob")) as after:
                after.fleet()
            before.fleet()
    assert caplog.messages.count("serves with a renewed certificate") == 3


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("half", "do not belong together"),
        ("gone", "does not exist"),
        ("junk", "holds no certificate"),
        ("open", "can be read by others"),
        ("ended", "has ended"),
        ("host", "is for 192.0.2.1"),
        ("stranger", "not of the authority"),
    ],
)
def test_server_keeps_its_certificate_when_the_new_one_is_broken(lab, shown, caplog, broken, why):
    pair = {
        "ended": renewed(lab, -10),
        "host": renewed(lab, hosts=("192.0.2.1",)),
        "stranger": authority.for_hosts(
            authority.new_authority(time.time(), 3600), ["127.0.0.1"], time.time(), 3600
        ),
    }.get(broken, renewed(lab))
    if broken != "half":
        write_pair(lab.folder, SERVER, pair)
    match broken:
        case "half":
            (lab.folder / "server.key").write_bytes(pair.key_pem)
        case "gone":
            (lab.folder / "server.crt").unlink()
        case "junk":
            (lab.folder / "server.crt").write_text("junk")
        case "open":
            (lab.folder / "server.key").chmod(0o644)
    for _ in range(3):
        assert shown() == der(lab.server)
    (told,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert told.getMessage() == "serves on with the former certificate"
    assert why in told.fields["error"]
    with pytest.raises(ConfigError, match=why):
        ServerCertificate(lab.folder, "127.0.0.1:0", lab.clock)
    whole = renewed(lab)
    write_pair(lab.folder, SERVER, whole)
    assert shown() == der(whole)
