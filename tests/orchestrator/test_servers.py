"""Which records of servers of experts an orchestrator keeps, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.errors import Busy, Refused
from atoll.views import ServerView
from membership.record import LASTS_S, Kind, Record, plain
from membership.servers import ServerFacts
from orchestrator import servers as module
from orchestrator.servers import Servers

FACTS = ServerFacts({0: "digest-0", 11: "digest-11"}, 256, 412.3, "process 7 on a")


@pytest.fixture
def servers(clock):
    return Servers(clock)


@pytest.fixture
def one(clock):
    until = clock.wall() + LASTS_S
    return Record(Kind.EXPERTS, "model", "a:7", "a:7", until=until, facts=FACTS.facts)


def keep(servers, record):
    servers.keep(record, plain(record))


def test_server_is_known_until_its_record_ends(servers, one, clock):
    assert not servers.are_there
    keep(servers, one)
    clock.now += LASTS_S - 1
    assert servers.are_there
    assert servers.told("model") == [plain(one)]
    assert servers.told("another") == []
    clock.now += 2
    assert not servers.are_there
    assert servers.told("model") == []


def test_server_is_seen_with_its_experts_and_its_rate(servers, one, clock):
    keep(servers, replace(one, name="b:7", address="b:7", facts={}))
    keep(servers, one)
    clock.now += 20
    first, second = servers.view()
    assert first == ServerView("a:7", "process 7 on a", (0, 11), 400.0, LASTS_S - 20)
    assert second == ServerView("b:7", "", (), 0.0, LASTS_S - 20)


def test_server_that_left_is_not_brought_back_by_its_former_record(servers, one):
    keep(servers, one)
    left = replace(one, until=one.until + 1, left=True)
    keep(servers, left)
    keep(servers, one)
    assert not servers.are_there
    assert servers.view() == ()
    assert servers.told("model") == [plain(left)]  # gateways have to hear of it


@pytest.mark.parametrize("ends_in_s", [-31, LASTS_S + 31, 1e9])
def test_record_that_has_ended_or_lasts_longer_than_any_is_refused(servers, one, clock, ends_in_s):
    with pytest.raises(Refused, match="set the clocks of both machines"):
        keep(servers, replace(one, until=clock.wall() + ends_in_s))
    assert not servers.are_there


def test_servers_beyond_all_bounds_are_refused_and_those_that_are_known_are_not(
    servers, one, clock, monkeypatch
):
    room = len(plain(one))
    monkeypatch.setattr(module, "_MOST_BYTES", 3 * room)
    monkeypatch.setattr(module, "_MOST_BYTES_OF_ONE", 2 * room)

    def keep_by(name, by):
        keep(servers, replace(one, name=name, until=clock.wall() + LASTS_S, by=by))

    for name in ("a:7", "b:7", "a:7"):
        keep_by(name, "first")
    with pytest.raises(Busy):
        keep_by("c:7", "first")
    keep_by("c:7", "second")
    with pytest.raises(Busy):
        keep_by("d:7", "second")
    clock.now += LASTS_S + 1
    keep_by("d:7", "first")


def test_servers_of_whom_is_turned_out_are_known_no_more(servers, one):
    other = replace(one, name="b:7", by="other")
    keep(servers, replace(one, by="stolen"))
    keep(servers, other)
    shut_out = set()
    servers.heed(lambda: shut_out)
    assert len(servers.view()) == 2
    shut_out.add("stolen")
    assert len(servers.view()) == 1
    assert servers.told("model") == [plain(other)]


@pytest.mark.parametrize(
    "facts",
    [
        {"expert x": "d", "expert -1": "d", "expert 1e3": "d", "expert 99999999999": "d"},
        {"rows_per_second": "nan", "queue_rows": "many"},
        {"rows_per_second": "fast"},
        {"rows_per_second": "-1", "expert": "d"},
        {"rows_per_second": "1e300"},
    ],
)
def test_facts_that_mean_nothing_are_passed_over(facts):
    assert ServerFacts.read(facts) == ServerFacts({}, 0, 0.0)


def test_facts_are_read_as_they_were_told():
    assert ServerFacts.read(FACTS.facts) == replace(FACTS, rows_per_second=400.0)
    fresh = replace(FACTS, rows_per_second=0.0)
    assert ServerFacts.read(fresh.facts) == fresh
