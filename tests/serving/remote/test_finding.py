"""Servers are found by what they have signed, and a record that lies leads nobody astray."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import replace

import pytest

from atoll import authority, identity
from atoll.credentials import GATEWAY, SERVER, gateway_credentials, read_certificate, read_pair
from atoll.errors import Unreachable
from atoll.revocations import Revocations, revoke
from membership.dht import Dht
from membership.found import Found
from membership.record import Kind, Record
from membership.registry import Registry
from membership.servers import model_of
from serving.remote.finding import Finder
from serving.remote.pool import Pool
from tests import dht
from tests.fakes import ManualClock
from tests.registry import orchestrator
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


def record(address, checkpoint="digest"):
    return Record(Kind.EXPERTS, MODEL, address, address, facts={"expert 0": checkpoint})


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
        announced.announce(record(honest), server)
        announced.announce(record(hostile), server)
        announced.announce(record("127.0.0.1:1"), server)
        announced.announce(record(honest, "of others than it has"), server)
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
            announced.announce(record(f"127.0.0.1:{number + 1}"), signer)
    finder.look()
    assert set(finder.addresses()) == set()


def test_servers_found_last_are_known_while_no_peer_answers(lab):
    with dht.peer(lab) as peer, Dht([peer], read_certificate(lab / "ca.crt"), CLOCK) as asked:
        finder = Finder(asked, MODEL, CLOCK)
        asked.announce(record("127.0.0.1:7"), read_pair(lab, SERVER))
        finder.look()
        assert set(finder.addresses()) == {"127.0.0.1:7"}
    finder.look()  # there is nobody left to ask
    assert set(finder.addresses()) == {"127.0.0.1:7"}


class Told:
    """A place that tells what the test says."""

    def __init__(self, *records, left=()):
        self.answer = Found(records, 0, frozenset(left))

    def find(self, run, kind):
        assert (run, kind) == (MODEL, Kind.EXPERTS)
        return self.answer


def test_servers_are_known_until_their_records_end_though_a_place_begun_anew_tells_of_nobody():
    clock = ManualClock()
    first, second = (
        replace(record(address), until=clock.wall() + seconds)
        for address, seconds in (("a:7", 30), ("b:7", 60))
    )
    place = Told(first, second)
    finder = Finder(place, MODEL, clock)
    finder.look()
    place.answer = Found((), 0)
    finder.look()
    assert set(finder.addresses()) == {"a:7", "b:7"}
    clock.now += 31
    finder.look()
    assert set(finder.addresses()) == {"b:7"}
    place.answer = Found((replace(record("c:7"), until=clock.wall() + 60),), 0)
    finder.look()
    assert set(finder.addresses()) == {"b:7", "c:7"}


def test_servers_that_say_that_they_leave_are_known_no_more():
    clock = ManualClock()
    here = replace(record("a:7"), until=clock.wall() + 60)
    place = Told(here)
    finder = Finder(place, MODEL, clock)
    finder.look()
    place.answer = Found((), 0, frozenset({"a:7"}))
    finder.look()
    assert set(finder.addresses()) == set()


@pytest.fixture(params=["dht", "orchestrator"])
def place(request, lab, tmp_path):
    """Where servers are told of, as a gateway sees it."""
    make_lab(lab, "--server", "127.0.0.1")
    if request.param == "dht":
        with dht.peer(lab) as peer, Dht([peer], read_certificate(lab / "ca.crt"), CLOCK) as asked:
            yield asked
        return
    uri, tls = str(tmp_path / "run"), str(lab / "gateways" / "web")
    with (
        orchestrator(tmp_path / "run", lab),
        Registry(uri, "serving.experts_tls", tls, "gateway", CLOCK) as asked,
    ):
        yield asked


def test_servers_that_were_revoked_are_not_found_by_whoever_has_the_list(lab, place):
    gateway = lab / "gateways" / "web"
    stolen, own = (read_pair(folder, SERVER) for folder in (lab / "servers" / "127.0.0.1", lab))
    revoke(gateway, [identity.server("127.0.0.1")], "", time.time())
    known = Revocations(gateway).known
    place.announce(record("127.0.0.1:7"), stolen)
    place.announce(record("localhost:8"), own)
    finder = Finder(place, MODEL, CLOCK, lambda: known().keys())
    finder.look()
    assert set(finder.addresses()) == {"localhost:8"}


def test_server_that_is_revoked_once_it_was_found_is_forgotten_at_the_next_look(lab, place):
    shut_out = set()
    place.announce(record("127.0.0.1:7"), read_pair(lab / "servers" / "127.0.0.1", SERVER))
    finder = Finder(place, MODEL, CLOCK, lambda: shut_out)
    finder.look()
    assert set(finder.addresses()) == {"127.0.0.1:7"}
    shut_out.add(identity.server("127.0.0.1").uri)
    finder.look()
    assert set(finder.addresses()) == set()


def test_server_that_is_revoked_is_forgotten_where_nobody_tells_of_it_any_more():
    clock, shut_out = ManualClock(), set()
    here = (
        replace(record(address), until=clock.wall() + 60, by=by)
        for address, by in (("a:7", "stolen"), ("b:7", "own"))
    )
    place = Told(*here)
    finder = Finder(place, MODEL, clock, lambda: shut_out)
    finder.look()
    shut_out.add("stolen")
    place.answer = Found((), 0)
    finder.look()
    assert set(finder.addresses()) == {"b:7"}

    def silent(run, kind):
        raise Unreachable("nobody answers")

    place.find = silent
    shut_out.add("own")
    finder.look()
    assert set(finder.addresses()) == set()
