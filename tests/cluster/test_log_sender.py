"""What an island tells of its logs, and when."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from atoll.errors import Unreachable
from atoll.log_types import LogPiece, LogsWanted
from cluster.log_sender import FileLog, LogSender, TrainerLog
from cluster.own_log import OwnLog

KIB = 1 << 10


@dataclass
class Reader:
    """An orchestrator that reads along; also the time."""

    logs_wanted: LogsWanted = field(default_factory=lambda: LogsWanted(trainer=True))
    answers: bool = True
    reads: bool = True
    now: float = 0.0
    heard: list[LogPiece] = field(default_factory=list)

    def send_log(self, piece: LogPiece) -> bool:
        if not self.answers:
            raise Unreachable("it is away")
        self.heard.append(piece)
        assert len(self.heard) < 100, "it never ends"
        return self.reads

    def monotonic(self) -> float:
        return self.now

    def texts(self) -> list[tuple[int, bytes]]:
        told = [(piece.begin.offset, piece.text) for piece in self.heard]
        self.heard.clear()
        return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trainer.log"


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def tell(reader, path):
    sender = LogSender(reader, "island-1", OwnLog(), reader)
    log = TrainerLog("expert-0", 3, FileLog(path))

    def once() -> list[tuple[int, bytes]]:
        reader.now += 10
        sender.send(log)
        return reader.texts()

    once.sender, once.log = sender, log
    return once


def test_log_is_sent_only_while_it_is_wanted(reader, path, tell):
    path.write_bytes(b"a\n")
    reader.logs_wanted = LogsWanted()
    assert tell() == []
    reader.logs_wanted = LogsWanted(trainer=True)
    assert tell() == [(0, b"a\n")]
    assert tell() == []
    path.write_bytes(b"a\nb\n")
    assert tell() == [(2, b"b\n")]
    reader.logs_wanted = LogsWanted()
    assert tell() == []
    reader.logs_wanted = LogsWanted(trainer=True)
    assert tell() == [(0, b"a\nb\n")]


def test_empty_log_is_told_to_be_so(path, tell):
    path.touch()
    assert tell() == [(0, b"")]


def test_long_log_is_sent_from_a_line_near_its_end(path, tell):
    line = b"x" * 99 + b"\n"
    path.write_bytes(line * 10_000)
    ((offset, text),) = tell()
    assert offset % 100 == 0
    assert 63 * KIB < len(text) <= 64 * KIB
    assert offset + len(text) == 1_000_000


def test_sender_that_falls_far_behind_goes_on_at_the_end(path, tell):
    path.touch()
    tell()
    path.write_bytes(b"x\n" * 10 * KIB)
    assert [len(text) for _, text in tell()] == [20 * KIB]
    path.write_bytes(b"x\n" * 500 * KIB)
    ((offset, text),) = tell()
    assert offset + len(text) == 1000 * KIB


def test_log_is_sent_again_after_an_orchestrator_was_away(reader, path, tell):
    path.write_bytes(b"a\n")
    tell()
    reader.answers = False
    path.write_bytes(b"a\nb\n")
    assert tell() == []
    reader.answers = True
    assert tell() == [(0, b"a\nb\n")]


def test_all_that_an_ended_trainer_wrote_is_sent_at_once(reader, path, tell):
    path.touch()
    tell()
    path.write_bytes(b"x\n" * 80 * KIB)
    tell.sender.flush(tell.log)
    assert [len(text) for _, text in reader.texts()] == [64 * KIB, 64 * KIB, 32 * KIB]
    reader.answers = False
    path.write_bytes(b"x\n" * 81 * KIB)
    tell.sender.flush(tell.log)  # holds up nobody
    assert reader.texts() == []


def test_own_log_keeps_its_end_and_knows_its_place():
    own, logger = OwnLog(), logging.Logger("agent")
    logger.addHandler(own)
    for number in range(1000):
        logger.info("event %d", number, extra={"fields": {"of": "x" * 100}})
    begin, text = own.read(0, 1 << 20)
    assert len(text) == 64 * KIB
    assert begin + len(text) == own.size
    assert b'"event": "event 999"' in text.splitlines()[-1]
    assert own.read(own.size - 10, 5) == (own.size - 10, text[-10:-5])
    assert own.read(own.size, 5) == (own.size, b"")


def test_sender_whose_reader_has_just_left_is_done(reader, path):
    sender = LogSender(reader, "island-1", OwnLog(), reader)
    path.write_bytes(b"one\ntwo\n")
    reader.reads = False  # and no heartbeat has told so yet
    sender.flush(TrainerLog("expert-0", 3, FileLog(path)))
    assert len(reader.heard) == 1
