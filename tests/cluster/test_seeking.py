"""An agent that looks for its orchestrator in a DHT. What the DHT tells is said by the test."""

from __future__ import annotations

import time

import pytest

from atoll.clock import SystemClock
from atoll.errors import Unreachable
from cluster.contact import Contact
from cluster.seeking import Seeker
from cluster.tenure import Orders
from membership.found import Found
from membership.record import Kind, Record

NOBODY = Found((), 0)


def leader(address: str) -> Record:
    return Record(Kind.ORCHESTRATOR, "run", address, address)


class Dht:
    """Answers one question after the other, the last answer for ever."""

    def __init__(self, *answers: Found | Unreachable) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Kind]] = []

    def find(self, run: str, kind: Kind) -> Found:
        self.asked.append((run, kind))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Unreachable):
            raise answer
        return answer


class Clock(SystemClock):
    """The machine's, in more of a hurry."""

    begun = time.monotonic()

    def monotonic(self) -> float:
        return self.begun + 100 * (time.monotonic() - self.begun)


def first(dht: Dht, orders: Orders, orphan_s: float = 600) -> object:
    clock = Clock()
    with Seeker(dht, "run", clock) as seeker:
        return seeker.first(orders, Contact(orphan_s, clock))


def test_seeker_waits_for_peers_and_then_for_an_orchestrator():
    new, old = leader("b:1"), leader("a:1")
    dht = Dht(Unreachable("no peer answers"), NOBODY, Found((new, old), 0))
    assert first(dht, Orders()) == ("b:1", "a:1")
    assert dht.asked == [("run", Kind.ORCHESTRATOR)] * 3


def test_seeker_waits_no_more_once_it_is_told_to_leave():
    assert first(Dht(NOBODY), Orders(drain=True)) == ()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Unreachable("of the peers x none answers"), "of the peers x none answers"),
        (NOBODY, "no orchestrator of run run is announced at the peers"),
        (Found((), 2), "none of 2 records is both signed by the authority of the join token"),
    ],
    ids=["no peer", "no record", "forged records"],
)
def test_seeker_that_finds_nobody_for_too_long_says_why(answer, why):
    with pytest.raises(Unreachable, match=rf"{why}.* for \d+ s; stopping"):
        first(Dht(answer), Orders(), orphan_s=1)


def test_seeker_keeps_what_it_knew_while_nobody_tells_anything():
    seeker = Seeker(Dht(Found((leader("a:1"),), 0), NOBODY, Unreachable("gone")), "run", Clock())
    for _ in range(3):
        seeker.look()
        assert seeker.addresses() == ("a:1",)
