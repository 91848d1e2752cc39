"""The calls that logs go through, over a real connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from atoll.errors import Busy, LeaseLost, Refused
from atoll.log_types import LogLines, LogPiece, LogPlace, LogsWanted
from atoll.types import Progress


@pytest.fixture
def first():
    """The first word of a stream, which is not asked for before somebody waits for it."""
    with ThreadPoolExecutor() as pool:
        yield lambda said: pool.submit(next, said)


def beat_until_wanted(agent, lease) -> LogsWanted:
    while True:
        agent.heartbeat(lease, Progress(1, 0.5, 1.0))
        if agent.logs_wanted != LogsWanted():
            return agent.logs_wanted


def piece(lease, text: bytes, job: str | None = None, epoch: int | None = None) -> LogPiece:
    place = LogPlace(lease.island, lease.epoch if epoch is None else epoch, 0)
    return LogPiece(place, lease.job if job is None else job, text)


def test_log_comes_to_who_reads_it_and_is_wanted_no_longer(agent, operator, lease, first):
    assert not agent.send_log(piece(lease, b"nobody reads\n"))
    said = operator.log("expert-0", 10, follow=True)
    word = first(said)
    assert beat_until_wanted(agent, lease) == LogsWanted(trainer=True)
    assert agent.send_log(piece(lease, b"read\nby one\n"))
    assert word.result(30) == LogLines(("read", "by one"), LogPlace("island-1", 1, 12))
    said.close()
    while agent.send_log(piece(lease, b"")):
        pass  # it takes a moment until the server sees that its reader has left
    agent.heartbeat(lease, Progress(1, 0.5, 1.0))
    assert agent.logs_wanted == LogsWanted()


def test_log_of_an_agent_is_wanted_by_the_name_of_its_island(agent, operator, lease, first):
    said = operator.log("island-1", 1, follow=False)
    word = first(said)
    assert beat_until_wanted(agent, lease) == LogsWanted(agent=True)
    assert agent.send_log(piece(lease, b"one\ntwo\n", job="", epoch=0))
    assert word.result(30) == LogLines(("two",), LogPlace("island-1", 0, 8))
    assert list(said) == []


def test_log_of_a_lease_that_has_ended_or_is_anothers_is_refused(agent, lease):
    for strange in (
        piece(lease, b"x", epoch=9),
        piece(lease, b"x", job="expert-1"),
        piece(lease, b"x", job=""),
    ):
        with pytest.raises(LeaseLost, match="does not work on"):
            agent.send_log(strange)
    with pytest.raises(Refused, match="more than 65536 bytes"):
        agent.send_log(piece(lease, b"x" * 70_000))


def test_log_of_nobody_and_too_many_lines_are_refused(operator, lease):
    with pytest.raises(Refused, match="no job or living island is called 'nobody'"):
        next(operator.log("nobody", 10, follow=True))
    with pytest.raises(Refused, match="lines"):
        next(operator.log("expert-0", 1_000_000, follow=True))


def test_readers_of_logs_and_watchers_of_events_share_the_room(agent, operator, lease, first):
    watching = [operator.events() for _ in range(15)]
    for events in watching:
        next(events)
    said = operator.log("expert-0", 10, follow=True)
    word = first(said)
    beat_until_wanted(agent, lease)
    with pytest.raises(Busy):
        next(operator.log("expert-0", 10, follow=True))
    agent.send_log(piece(lease, b"still\n"))
    assert word.result(30).lines == ("still",)
    for stream in (said, *watching):
        stream.close()
