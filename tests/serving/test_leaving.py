"""How long a service that leaves takes, and how long its readers have."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from atoll.errors import AtollError, Interrupted
from serving.leaving import Leaving
from tests.fakes import ManualClock


@dataclass
class Work:
    """A service that has work for so long."""

    clock: ManualClock
    seconds: float
    num_waiting: int = 3
    is_healthy: bool = True

    def drain(self, seconds):
        self.clock.now += min(seconds, self.seconds)
        self.seconds -= min(seconds, self.seconds)
        return not self.seconds

    def give_up(self):
        self.num_waiting = 0


@pytest.fixture
def make_leaving(clock):
    def make(seconds, *, is_urgent=False):
        work = Work(clock, seconds)
        return work, Leaving(work, SimpleNamespace(is_urgent=is_urgent), 10.0, clock)

    return make


def graces(leaving, num=1):
    """What the front ends are told, each of which waits for the others."""
    told, all_of_them = [], threading.Barrier(num)

    def stop(grace_s):
        all_of_them.wait(60)
        told.append(grace_s)

    leaving.stop([stop] * num)
    return told


def test_front_ends_stop_side_by_side(make_leaving):
    _, leaving = make_leaving(0)
    leaving.drain()
    assert graces(leaving, 2) == [5.0, 5.0]


@pytest.mark.parametrize(("seconds", "grace_s"), [(1.0, 5.0), (7.0, 3.0), (9.9, 1.0)])
def test_readers_have_what_is_left_of_the_time_and_a_second_at_least(
    make_leaving, seconds, grace_s
):
    _, leaving = make_leaving(seconds)
    leaving.drain()
    assert graces(leaving) == pytest.approx([grace_s])


def test_work_that_takes_too_long_is_given_up_and_readers_are_told(make_leaving):
    work, leaving = make_leaving(100)
    with pytest.raises(AtollError, match=r"serving\.drain_s = 10 is over; .* not finished: 3"):
        leaving.drain()
    assert work.num_waiting == 0
    assert graces(leaving) == [1.0]


def test_second_signal_gives_up_at_once(make_leaving, clock):
    work, leaving = make_leaving(100, is_urgent=True)
    began_at = clock.now
    with pytest.raises(Interrupted, match="not finished: 3"):
        leaving.drain()
    assert (work.num_waiting, clock.now - began_at < 1) == (0, True)
    assert graces(leaving) == [1.0]


def test_front_ends_of_a_start_up_that_fails_stop_soon(make_leaving):
    _, leaving = make_leaving(0)
    assert graces(leaving) == [1.0]


def test_service_that_draws_no_more_is_not_waited_for(make_leaving, clock):
    work, leaving = make_leaving(100)
    work.is_healthy, began_at = False, clock.now
    with pytest.raises(AtollError, match=r"draws no more, .* not finished: 3"):
        leaving.drain()
    assert (work.num_waiting, clock.now - began_at < 1) == (0, True)


def test_second_signal_cuts_off_who_still_reads(clock):
    signals, told, is_cut = SimpleNamespace(is_urgent=False), [], threading.Event()
    leaving = Leaving(Work(clock, 0), signals, 10.0, clock)
    leaving.drain()

    def stop(grace_s):
        told.append(grace_s)
        if grace_s:
            signals.is_urgent = True
            is_cut.wait(10)
        is_cut.set()

    leaving.stop([stop])
    assert told == [5.0, 0.0]
