"""What every place must keep where records are told, in a DHT and by an orchestrator."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from atoll.clock import SystemClock
from atoll.credentials import SERVER, read_certificate, read_pair
from atoll.errors import AtollError, Unreachable
from atoll.identity import Kind as Who
from membership.dht import Dht
from membership.record import LASTS_S, Kind, Record
from membership.registry import Registry
from tests import dht
from tests.registry import orchestrator
from tests.serving.secured import make_lab

CLOCK = SystemClock()
RUN = "partition-1"
ONE = Record(Kind.EXPERTS, RUN, "127.0.0.1:7", "127.0.0.1:7", facts={"expert 0": "digest"})


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(params=["dht", "orchestrator"])
def place(request, lab, tmp_path):
    if request.param == "dht":
        with dht.peer(lab) as peer, Dht([peer], read_certificate(lab / "ca.crt"), CLOCK) as opened:
            yield opened
        return
    with (
        orchestrator(tmp_path / "run", lab),
        Registry(str(tmp_path / "run"), "expert_server.tls", str(lab), Who.SERVER, CLOCK) as opened,
    ):
        yield opened


@pytest.fixture
def by(lab):
    return read_pair(lab, SERVER)


def told(place, run=RUN):
    return [replace(each, until=0.0) for each in place.find(run, Kind.EXPERTS).records]


def test_place_tells_of_who_announced_themselves_for_a_minute_and_of_nobody_else(place, by):
    other = replace(ONE, name="127.0.0.1:8", address="127.0.0.1:8")
    assert told(place) == []
    begun = CLOCK.wall()
    for record in (ONE, other):
        place.announce(record, by)
    assert {each.name for each in told(place)} == {ONE.name, other.name}
    assert ONE in told(place)
    assert told(place, "partition-2") == []
    for each in place.find(RUN, Kind.EXPERTS).records:
        assert begun + LASTS_S <= each.until <= CLOCK.wall() + LASTS_S


def test_place_tells_what_was_said_last(place, by):
    place.announce(ONE, by)
    changed = replace(ONE, facts={"expert 1": "other"})
    place.announce(changed, by)
    assert told(place) == [changed]


def test_place_tells_that_somebody_has_left_and_may_come_back(place, by):
    place.announce(ONE, by)
    place.announce(replace(ONE, left=True), by)
    found = place.find(RUN, Kind.EXPERTS)
    assert (found.records, found.left) == ((), {ONE.name})
    place.announce(ONE, by)
    assert told(place) == [ONE]


def test_place_believes_nobody_of_another_lab(place, by, tmp_path):
    place.announce(ONE, by)
    stranger = read_pair(make_lab(tmp_path / "other"), SERVER)
    with contextlib.suppress(AtollError):  # whether it says so or not
        place.announce(replace(ONE, facts={}), stranger)
    assert told(place) == [ONE]


def test_place_lets_no_server_speak_for_one_at_another_host(place, by, lab):
    place.announce(ONE, by)
    make_lab(lab, "--server", "192.0.2.8")
    other = read_pair(lab / "servers" / "192.0.2.8", SERVER)
    own = replace(ONE, name="192.0.2.8:7", address="192.0.2.8:7")
    place.announce(own, other)
    by_any_name = replace(own, name=ONE.name)
    for lie in (ONE, replace(ONE, left=True), by_any_name, replace(by_any_name, left=True)):
        with contextlib.suppress(AtollError):
            place.announce(lie, other)
    assert {each.name for each in told(place)} == {ONE.name, own.name}
    assert ONE in told(place)


def test_place_that_nobody_answers_for_says_so(place, by):
    place.__exit__(None, None, None)
    if isinstance(place, Dht):
        with pytest.raises(Unreachable):
            place.find(RUN, Kind.EXPERTS)
        return
    place.announce(ONE, by)  # a registry is called anew
    assert told(place) == [ONE]
