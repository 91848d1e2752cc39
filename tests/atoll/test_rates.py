"""How often one caller may call."""

from __future__ import annotations

import pytest

from atoll import rates
from atoll.rates import Rates
from tests.fakes import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def test_rates_allow_a_burst_and_tell_when_to_come_again(clock):
    limits = Rates(per_s=10, burst=3, clock=clock)
    assert [limits.wait_s("a") for _ in range(5)] == [0, 0, 0, 0.1, 0.1]
    clock.now += 0.1
    assert limits.wait_s("a") == 0
    assert limits.wait_s("a") > 0


def test_rates_count_each_caller_alone(clock):
    limits = Rates(per_s=10, burst=1, clock=clock)
    assert [limits.wait_s(name) for name in ("a", "a", "b")] == [0, 0.1, 0]


def test_rates_save_up_no_more_than_a_burst(clock):
    limits = Rates(per_s=10, burst=2, clock=clock)
    limits.wait_s("a")
    clock.now += 3600
    assert [limits.wait_s("a") for _ in range(3)] == [0, 0, 0.1]


def test_rates_forget_only_those_who_have_waited(clock, monkeypatch):
    monkeypatch.setattr(rates, "_MAX_BUCKETS", 2)
    limits = Rates(per_s=10, burst=1, clock=clock)
    limits.wait_s("early")
    clock.now += 10
    limits.wait_s("busy")
    limits.wait_s("new")
    assert set(limits._buckets) == {"busy", "new"}
    assert limits.wait_s("busy") == 0.1
