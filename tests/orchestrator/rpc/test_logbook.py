from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.log_types import LogPiece, LogPlace, LogsWanted
from orchestrator.rpc.logbook import LogBook


def piece(text: bytes, offset: int = 0, epoch: int = 1, island: str = "island-1") -> LogPiece:
    return LogPiece(LogPlace(island, epoch, offset), "expert-0", text)


@pytest.fixture
def book() -> LogBook:
    return LogBook()


@pytest.fixture
def log(book):
    with book.reading("expert-0") as opened:
        yield opened


def texts(log) -> list[str]:
    return [line.text for line in log.since(0)]


def test_book_wants_and_keeps_only_what_somebody_reads(book):
    assert book.wanted(["island-1"], ["expert-0"]) == LogsWanted()
    assert not book.add(piece(b"nobody\n"), ["expert-0"])
    with book.reading("expert-0") as first, book.reading("island-1"):
        assert book.wanted(["island-1"], ["expert-0"]) == LogsWanted(agent=True, trainer=True)
        assert book.wanted(["island-2"], ["expert-1"]) == LogsWanted()
        with book.reading("expert-0") as second:
            assert second is first
        assert book.add(piece(b"read\n"), ["expert-0"])
        assert texts(first) == ["read"]
    assert book.wanted(["island-1"], ["expert-0"]) == LogsWanted()


CUTS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8)


@given(st.binary(max_size=100), CUTS)
def test_log_told_in_any_pieces_however_often_is_the_same_lines(text, cuts):
    text += b"\n"
    with LogBook().reading("expert-0") as log:
        told = 0
        for from_, to in [*cuts, (100, 101)]:
            begin = min(from_, told)
            log.add(piece(text[begin:to], begin))
            told = max(told, min(to, len(text)))
        assert texts(log) == [line.decode(errors="replace") for line in text.split(b"\n")[:-1]]
        assert log.since(0)[-1].end == LogPlace("island-1", 1, len(text))


def test_line_without_an_end_is_told_once_its_writer_is_another(log):
    log.add(piece(b"begun"))
    assert texts(log) == []
    log.add(piece(b"next\n", epoch=2))
    assert texts(log) == ["begun", "next"]
    assert log.is_heard("island-1", 2)
    assert not log.is_heard("island-1", 1)


def test_bytes_that_were_left_out_end_the_line_before_them(log):
    log.add(piece(b"a\nb"))
    log.add(piece(b"c\n", offset=500))
    assert texts(log) == ["a", "b", "c"]
    assert log.since(2)[0].end.offset == 502


def test_bytes_left_out_twice_are_counted_together_and_not_of_another_writer(log):
    log.add(piece(b"a\n"))
    log.add(piece(b"", offset=100))
    log.add(piece(b"b\n", offset=200))
    assert log.since(1)[0].left_out == 198
    log.add(piece(b"", offset=500))
    log.add(piece(b"c\n", epoch=2))
    assert log.since(2)[0].left_out == 0


def test_reader_that_comes_back_reads_what_it_had_not(log):
    log.add(piece(b"one\ntwo\nthree\n"))
    log.add(piece(b"four\n", epoch=2))
    place = log.since(0)[1].end
    assert texts(log)[log.beyond(place) :] == ["three", "four"]
    assert log.beyond(LogPlace("island-9", 7, 5)) == 0
    assert (log.last(2), log.last(50)) == (2, 0)


@pytest.mark.parametrize("text", [b"\n" * 65536, b"x" * 65536, b"\xff" * 65536])
def test_log_is_bounded_whatever_is_told(log, text):
    for turn in range(64):
        log.add(piece(text, offset=turn * len(text)))
    kept = log.since(0)
    assert sum(len(line.text.encode()) + 100 for line in kept) <= 1 << 20
    assert kept[-1].number + 1 > len(kept)
    assert all(len(line.text) <= 8192 for line in kept)
