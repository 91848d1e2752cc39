"""Proposals of servers follow from what the router asks for."""

from __future__ import annotations

import math

import pytest

from serving.engine.tick import Left, Tick
from serving.remote.replica import Replica
from serving.remote.usage import Usage
from tests.fakes import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def replica(clock, experts, rows_per_s=math.nan, failures=0):
    its = dict.fromkeys(experts, "digest")
    return Replica("a:1", clock, experts=its, rows_per_s=rows_per_s, failures=failures)


def test_proposals_are_servers_that_rows_leave_time_to(clock):
    servers = [replica(clock, [0, 1], 100.0), replica(clock, [0], 300.0), replica(clock, [2])]
    usage = Usage(4, lambda: servers, clock)
    for _ in range(10):
        clock.sleep(2.0)
        usage.hear((600, 30, 10, 0))
    hot, warm, unknown, nobody = usage.table()
    assert (hot.servers, hot.rows_per_s, hot.busy) == (2, 300.0, 1.5)  # of a mean speed of 200
    assert hot.wanted == 3  # 1.5 / 0.6, rounded up
    assert hot.checkpoints == {"digest": 2}
    assert (warm.servers, warm.busy, warm.wanted) == (1, pytest.approx(0.15), 1)
    assert unknown.servers == 1
    assert math.isnan(unknown.busy)
    assert (nobody.servers, nobody.wanted) == (0, 1)


def test_usage_is_that_of_the_last_minute_and_of_servers_that_can_be_asked(clock):
    servers = [replica(clock, [0], 100.0), replica(clock, [0], 100.0, failures=1)]
    usage = Usage(1, lambda: servers, clock)
    usage.hear((6000,))
    clock.sleep(59.0)
    assert usage.table()[0].rows_per_s == pytest.approx(6000 / 59)
    clock.sleep(2.0)
    (use,) = usage.table()
    assert (use.servers, use.rows_per_s, use.wanted) == (1, 0.0, 1)


def test_usage_hears_ticks_beside_whoever_else_does(clock):
    usage, heard = Usage(2, list, clock), []
    watch = usage.beside(heard.append)
    clock.sleep(10.0)
    rows = {"num_gated": 0, "num_stepped": 0, "num_drawn": 1, "num_queued": 0}
    told = [Tick(0, 0.1, (20, 0), **rows, unused=(0, 5)), Left(1)]
    for each in told:
        watch(each)
    assert heard == told
    assert [use.rows_per_s for use in usage.table()] == [
        2.0,
        0.5,
    ]  # servers are busy with those in vain, too
