"""Servers are found by what they have signed, and a record that lies leads nobody astray."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from atoll import authority, identity
from atoll.credentials import GATEWAY, SERVER, gateway_credentials, read_certificate, read_pair
from membership.dht import Dht
from membership.record import Kind, Record
from membership.servers import model_of
from serving.remote.finding import Finder
from serving.remote.pool import Pool
from tests import dht
from tests.serving.conftest import SHAPE
from tests.serving.remote.conftest import CLOCK, until
from tests.serving.secured import make_lab, secured, some_rows

MODEL = model_of("0" * 64)


@pytest.fixture
def lab(tmp_path):
    return make_lab(tmp_path / "lab")


@pytest.fixture
def found(lab):
    """What announces in a real DHT, and what finds there."""
    with dht.peer(lab) as peer, Dht([peer], read_certificate(lab / "ca.crt"), CLOCK) as asked:
        yield asked, Finder(asked, MODEL, CLOCK)


@pytest.fixture
def honest(lab, networks):
    """The address of a server that is what it says."""
    with secured(lab, networks[0]) as address:
        yield address


def record(name, address, checkpoint="digest"):
    return Record(Kind.EXPERTS, MODEL, name, address, facts={"expert 0": checkpoint})


def test_records_that_lie_cost_no_answer(found, honest, lab):
    announced, finder = found
    server = read_pair(lab, SERVER)
    with socket.create_server(("127.0.0.1", 0)) as rubbish:
        hostile = f"127.0.0.1:{rubbish.getsockname()[1]}"

        def say_rubbish():
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = rubbish.accept()
                    caller.sendall(b"HTTP/1.1 200 OK\r\n\r\nrubbish")
                    caller.close()

        threading.Thread(target=say_rubbish, daemon=True).start()
        announced.announce(record("honest", honest), server)
        announced.announce(record("hostile", hostile), server)
        announced.announce(record("nobody", "127.0.0.1:1"), server)
        announced.announce(record("honest by another name", honest, "other"), server)
        finder.look()
        assert set(finder.addresses()) == {honest, hostile, "127.0.0.1:1"}
        credentials = gateway_credentials(lab / "gateways" / "web")
        pool = Pool(finder.addresses, credentials, 10.0, threading.Event(), CLOCK)
        pool.start()
        try:
            until(lambda: pool.served)
            assert pool.served == {(0, "digest")}
            assert pool.begin(some_rows(), lambda: None).result().shape == (2, *SHAPE)
        finally:
            pool.close()


def test_records_of_others_than_servers_of_the_lab_are_not_found(found, lab, tmp_path):
    announced, finder = found
    ca = read_pair(lab, "ca")
    island = authority.for_identity(ca, identity.island(MODEL, "island-1"), time.time(), 3600)
    gateway = read_pair(lab / "gateways" / "web", GATEWAY)
    other = read_pair(make_lab(tmp_path / "other"), SERVER)
    for number, signer in enumerate((island, gateway, other)):
        with contextlib.suppress(Exception):  # peers refuse them, too
            announced.announce(record(str(number), f"127.0.0.1:{number + 1}"), signer)
    finder.look()
    assert set(finder.addresses()) == set()


def test_servers_found_last_are_known_while_no_peer_answers(lab):
    with dht.peer(lab) as peer, Dht([peer], read_certificate(lab / "ca.crt"), CLOCK) as asked:
        finder = Finder(asked, MODEL, CLOCK)
        asked.announce(record("honest", "127.0.0.1:7"), read_pair(lab, SERVER))
        finder.look()
        assert set(finder.addresses()) == {"127.0.0.1:7"}
    finder.look()  # there is nobody left to ask
    assert set(finder.addresses()) == {"127.0.0.1:7"}
