"""A record that is kept in a DHT. What reaches the DHT is heard by the test."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from atoll import authority
from atoll.errors import Deposed, Unreachable
from membership import announcing
from membership.announcing import announced
from membership.record import Kind, Record

CA = authority.new_authority(time.time(), 86400)
SERVER = authority.for_hosts(CA, ["192.0.2.7"], time.time(), 86400)
LEADER = Record(Kind.ORCHESTRATOR, "run", "process 7 on a", "192.0.2.7:7000", 3)


class Dht:
    """Notes what is announced; the first tries fail."""

    def __init__(self, num_failures: int = 0) -> None:
        self.num_failures = num_failures
        self.said: list[Record] = []
        self.heard = threading.Semaphore(0)

    def announce(self, record: Record, _: authority.Pair) -> None:
        if self.num_failures:
            self.num_failures -= 1
            raise Unreachable("no peer answers")
        self.said.append(record)
        self.heard.release()

    def wait(self) -> None:
        assert self.heard.acquire(timeout=240)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(announcing, "_LOOK_S", 0.01)
    monkeypatch.setattr(announcing, "_KEEP_S", 0.05)
    monkeypatch.setattr(announcing, "_RETRY_S", 0.01)


def test_announced_record_is_renewed_as_things_change_and_taken_back_in_the_end():
    dht, facts = Dht(num_failures=3), {"job": "expert-0"}
    with announced(dht, lambda: (replace(LEADER, facts=dict(facts)), SERVER)):
        dht.wait()
        facts["job"] = "expert-1"
        dht.wait()
        while dht.said[-1].facts["job"] != "expert-1":
            dht.wait()
        dht.wait()
    assert dht.said[0].facts == {"job": "expert-0"}
    assert dht.said[-2].facts == {"job": "expert-1"}
    assert not dht.said[-2].left
    assert dht.said[-1] == replace(dht.said[-2], left=True)


def test_announced_record_of_who_leads_no_more_is_taken_back():
    dht, leads = Dht(), threading.Event()
    leads.set()

    def saying() -> tuple[Record, authority.Pair]:
        if not leads.is_set():
            raise Deposed("another orchestrator has taken the lead")
        return LEADER, SERVER

    with announced(dht, saying):
        dht.wait()
        leads.clear()
    assert dht.said[-1] == replace(LEADER, left=True)


def test_announced_record_that_never_was_said_is_not_taken_back():
    dht = Dht(num_failures=10**9)
    with announced(dht, lambda: (LEADER, SERVER)):
        pass
    with announced(Dht(), lambda: None):
        pass
    assert dht.said == []
