"""Places where islands fail to start are left alone for a while."""

from __future__ import annotations

import pytest

from cluster.probation import Probation
from cluster.provider import Node
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def dead(island: str, **how: bool) -> dict[str, Node]:
    return {island: Node(island, alive=False, reason="exited with code 1", **how)}


def test_place_that_fails_is_left_alone_for_a_pause_that_doubles_up_to_ten_minutes(clock):
    probation = Probation(clock)
    assert not probation.is_on
    assert [probation.failed() for _ in range(8)] == [10, 20, 40, 80, 160, 320, 600, 600]
    clock.sleep(599)
    assert probation.is_on
    clock.sleep(1)
    assert not probation.is_on


def test_island_that_ends_young_is_told_once(clock):
    probation = Probation(clock)
    probation.started("island-1")
    clock.sleep(59)
    assert probation.ended_young(dead("island-1")) == ["island-1 exited with code 1"]
    assert probation.ended_young(dead("island-1")) == []


def test_island_that_left_as_it_was_asked_to_says_nothing_of_a_place(clock):
    probation = Probation(clock)
    probation.started("island-1")
    left = Node("island-1", alive=False, reason="exited with code 0")
    assert probation.ended_young({"island-1": left}) == []


def test_island_that_was_cancelled_or_started_elsewhere_says_nothing_of_a_place(clock):
    probation = Probation(clock)
    probation.started("island-1")
    assert probation.ended_young(dead("island-1", cleared=True)) == []
    assert probation.ended_young(dead("island-2")) == []


def test_island_that_lives_long_enough_makes_up_for_former_failures(clock):
    probation = Probation(clock)
    assert [probation.failed() for _ in range(3)][-1] == 40
    probation.started("island-1")
    clock.sleep(60)
    assert probation.ended_young({"island-1": Node("island-1", alive=True)}) == []
    assert probation.failed() == 10
    assert probation.ended_young(dead("island-1")) == []


def test_time_in_a_queue_is_no_part_of_an_islands_life(clock):
    probation = Probation(clock)
    probation.started("island-1")
    clock.sleep(1000)
    assert probation.ended_young({"island-1": Node("island-1", alive=True, waiting=True)}) == []
    clock.sleep(30)
    assert probation.ended_young(dead("island-1")) == ["island-1 exited with code 1"]
