"""What a gateway makes of a server's answers and failures."""

from __future__ import annotations

import math

import pytest

from serving.remote.replica import Replica
from tests.fakes import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def replica(clock):
    made = Replica("192.0.2.7:8002", clock)
    made.described({0: "digest"}, 0)
    return made


def test_breaker_opens_at_a_failure_for_twice_as_long_each_time_and_closes_by_a_word(
    replica, clock
):
    assert replica.is_open
    pauses = []
    for _ in range(9):
        replica.failed("so it was commanded")
        assert not replica.is_open
        pauses.append(replica.ask_at - clock.monotonic())
        assert not replica.may_be_tried
        clock.now += pauses[-1]
        assert replica.may_be_tried
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    replica.described({0: "digest"}, 0)
    assert replica.is_open
    replica.failed("again")
    assert replica.ask_at - clock.monotonic() == pytest.approx(0.25)


def test_server_that_has_never_answered_is_asked_first_and_never_slow(replica):
    assert replica.load == (0, 0)
    assert math.isinf(replica.slow_s)
    replica.overtaken(5.0)
    assert math.isinf(replica.slow_s)


def test_expectation_is_the_usual_time_and_that_of_the_rows_before(replica):
    for _ in range(50):
        replica.answered(0.1, 100.0, 0)
    assert replica.expected_s == pytest.approx(0.1)
    replica.num_rows = 20
    assert replica.expected_s == pytest.approx(0.1 + 20 / 100)
    replica.answered(0.1, 100.0, 60)  # rows of others, too
    assert replica.expected_s == pytest.approx(0.1 + 60 / 100)
    assert replica.slow_s == pytest.approx(0.7 + 0.05, abs=1e-3)


def test_slowness_is_by_the_spread_of_what_was_usual(replica):
    for number in range(400):
        replica.answered(0.1 if number % 2 else 0.3, 1e9, 0)
    assert replica.expected_s == pytest.approx(0.2, abs=0.03)
    assert replica.slow_s == pytest.approx(0.2 + 4 * 0.1, abs=0.06)


def test_server_that_is_overtaken_is_expected_to_be_slower(replica):
    for _ in range(50):
        replica.answered(0.1, 1e9, 0)
    replica.overtaken(1.1)
    assert replica.expected_s == pytest.approx(0.3)
    before = replica.expected_s
    replica.overtaken(0.01)  # nothing is known of how long it would have taken
    assert replica.expected_s == pytest.approx(before)


def test_server_that_does_not_answer_is_tried_sooner_than_one_that_answers_amiss(replica, clock):
    for _ in range(12):
        replica.failed("nobody is there", is_gone=True)
    assert replica.ask_at == clock.monotonic() + 5.0
    replica.failed("it says NaN")
    assert replica.ask_at == clock.monotonic() + 30.0
