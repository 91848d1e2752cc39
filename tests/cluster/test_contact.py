from __future__ import annotations

import pytest

from atoll.errors import Unreachable
from cluster.contact import Contact
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=0.0)


@pytest.fixture
def contact(clock) -> Contact:
    return Contact(orphan_s=600.0, clock=clock)


def test_contact_silent_for_too_long_ends_the_island(contact, clock):
    contact.missed(Unreachable("no answer"))
    clock.now = 599
    contact.missed(Unreachable("no answer"))
    clock.now = 601
    with pytest.raises(Unreachable, match="no answer for 601 s; stopping"):
        contact.missed(Unreachable("no answer"))


def test_contact_answered_counts_silence_anew(contact, clock):
    clock.now = 599
    contact.answered()
    clock.now = 1198
    contact.missed(Unreachable("no answer"))


def test_contact_pauses_longer_the_more_is_missed_up_to_a_bound(contact):
    pauses = []
    for _ in range(12):
        pauses.append(contact.pause_s(0.2))
        contact.missed(Unreachable("no answer"))
    assert 0.14 <= pauses[0] <= 0.26
    assert pauses[3] > 2 * pauses[0]
    assert max(pauses) <= 2.0 * 1.3


def test_contact_pause_keeps_a_long_usual_one(contact):
    contact.missed(Unreachable("no answer"))
    assert 2.1 <= contact.pause_s(3.0) <= 3.9
