"""When there will be room again."""

from __future__ import annotations

import pytest

from serving.service.pace import Pace
from tests.fakes import ManualClock


@pytest.mark.parametrize(("num", "seconds"), [(1, 1.0), (10, 5.0), (1000, 60.0), (-3, 1.0)])
def test_pace_foretells_by_what_was_finished_lately(num, seconds):
    clock = ManualClock()
    pace = Pace(clock)
    pace.finished()  # long ago
    clock.now += 1000
    for _ in range(20):
        pace.finished()
        clock.now += 0.5
    assert pace.seconds_for(num) == pytest.approx(seconds)


def test_pace_of_which_nothing_is_known_is_the_shortest():
    assert Pace(ManualClock()).seconds_for(100) == 1.0
