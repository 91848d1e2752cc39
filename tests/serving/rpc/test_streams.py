"""Who has a place among the streams, and who loses it."""

from __future__ import annotations

import pytest

from atoll.errors import Busy
from serving.rpc.streams import Streams
from tests.fakes import ManualClock


class Call:
    """A call, as a server's context shows it."""

    def __init__(self, *, is_over: bool = False) -> None:
        self._is_over, self._ends = is_over, []

    def add_callback(self, end) -> bool:
        self._ends.append(end)
        return not self._is_over

    def cancel(self) -> None:
        for end in self._ends:
            end()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_call_beyond_the_most_is_refused_until_another_ends(clock):
    streams, first = Streams(1, clock), Call()
    streams.enter(first)
    with pytest.raises(Busy, match="1 streams"):
        streams.enter(Call())
    first.cancel()
    streams.enter(Call())


def test_call_that_was_over_before_it_came_takes_no_place(clock):
    streams = Streams(1, clock)
    streams.enter(Call(is_over=True))
    streams.enter(Call())


def test_call_that_reads_nothing_loses_its_place_to_others_and_one_that_waits_does_not(clock):
    streams, stalled, waiting = Streams(2, clock), Call(), Call()
    for call in (stalled, waiting):
        streams.enter(call)
    told = streams.sent(stalled, [1, 2])
    assert next(told) == 1  # on its way, and never taken
    assert list(streams.sent(waiting, [1])) == [1]  # taken; there is nothing more to tell
    for _ in range(2):
        clock.now += 20
        with pytest.raises(Busy):
            streams.enter(Call())
    streams.enter(Call())
