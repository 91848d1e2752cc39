"""What a reader of a log is told, as the fleet goes on."""

from __future__ import annotations

import pytest

from atoll.errors import Refused
from atoll.log_types import LogLines, LogPiece, LogPlace
from atoll.types import Ending
from orchestrator.fleet import operations
from orchestrator.rpc.log_reading import Reader, read, standing
from orchestrator.rpc.logbook import LogBook


@pytest.fixture
def log():
    with LogBook().reading("expert-0") as opened:
        opened.wait = lambda number, seconds: None  # nothing to wait for: the test tells it all
        yield opened


@pytest.fixture
def reading(game, log, clock):
    def begin(num_lines=50, *, follow=True, after=None):
        reader = Reader("expert-0", num_lines, follow, after)
        return read(reader, log, lambda: game.fleet, clock)

    return begin


def tell(log, lease, text, offset=0):
    log.add(LogPiece(LogPlace(lease.island, lease.epoch, offset), lease.job, text))


def test_reader_is_told_the_last_lines_and_each_new_one(game, log, reading):
    game.submit()
    lease = game.lease()
    said = reading(num_lines=2)
    assert next(said) is None
    tell(log, lease, b"a\nb\nc\n")
    assert next(said) == LogLines(("b", "c"), LogPlace("island-1", 1, 6))
    assert next(said) is None
    tell(log, lease, b"d\n", 6)
    assert next(said) == LogLines(("d",), LogPlace("island-1", 1, 8))


def test_reader_who_does_not_follow_is_told_what_there_is(game, log, reading):
    game.submit()
    tell(log, game.lease(), b"a\nb\n")
    assert [said.lines for said in reading(follow=False)] == [("a", "b")]


def test_reader_is_told_where_a_job_goes_and_its_end(game, log, reading):
    game.submit()
    lease = game.lease()
    tell(log, lease, b"a\n")
    said = (each for each in reading() if each is not None)
    assert next(said).lines == ("a",)
    tell(log, lease, b"b", 2)
    game.release(lease, Ending.DRAINED)
    assert next(said).lines == ("b",)  # what has no end, now that nothing comes any more
    assert next(said).note == "expert-0 is waiting: drained at step 0"
    lease = game.lease("island-2")
    assert next(said).note == "expert-0 is on island-2 now, under epoch 2"
    tell(log, lease, b"c\n")
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)
    assert next(said).lines == ("c",)
    assert next(said).note == "expert-0 is done: all 100 steps are done"
    assert list(said) == []


def test_reader_who_comes_back_is_told_all_since(game, log, reading):
    game.submit()
    lease = game.lease()
    tell(log, lease, b"a\nb\nc\n")
    said = reading(num_lines=1, after=LogPlace("island-1", 1, 2))
    assert next(said).lines == ("b", "c")


def test_reader_of_a_frozen_island_is_told_that_nothing_comes(game, log, reading, clock):
    game.submit()
    game.lease()
    said = reading(follow=False)
    assert next(said) is None
    clock.now += 11
    assert next(said).note == "island-1 told nothing of it in 10 s; it may be frozen"
    assert list(said) == []


def test_reader_of_a_stopped_run_is_let_go(game, log, reading):
    game.submit()
    game.apply(operations.drain(game.fleet, "enough"))
    assert [said.note for said in reading()] == [
        "expert-0 is paused: paused while it waited: enough"
    ]


def test_standing_of_nobody_is_refused_with_the_names_there_are(game):
    with pytest.raises(Refused, match="there is none"):
        standing(game.fleet, "expert-0")
    game.submit()
    game.lease()
    with pytest.raises(Refused, match="there is expert-0, island-1"):
        standing(game.fleet, "island-7")
    assert standing(game.fleet, "island-1").island == "island-1"
    game.tick(11)
    assert standing(game.fleet, "island-1").over


def test_reader_is_told_what_was_left_out(game, log, reading):
    game.submit()
    lease = game.lease()
    tell(log, lease, b"a\nb\n")
    said = reading()
    assert next(said).lines == ("a", "b")
    tell(log, lease, b"c\nd\n", 2000)
    told = [each for each in (next(said), next(said), next(said)) if each is not None]
    assert [(each.lines, each.note) for each in told] == [
        ((), "1,996 bytes before this were not told"),
        (("c", "d"), ""),
    ]
