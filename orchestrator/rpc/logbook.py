"""The ends of the logs that operators read at this moment, as islands tell them.

In memory only, and bounded: a log is kept from its first reader to its last.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.log_types import LogPiece, LogPlace, LogsWanted

_MOST_BYTES = 1 << 20  # of one log
_MOST_LINE_BYTES = 8 << 10  # a longer one is told in parts
_LINE_COSTS_BYTES = 100  # besides its text


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Attributes:
        number: of the lines ever told of this log, from 0.
        text: without its end.
        end: where the log stands after it.
        left_out: bytes that were written before it and never told.
    """

    number: int
    text: str
    end: LogPlace
    left_out: int = 0


class Log:
    """The last lines of one job's trainers, or of one island's agent."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._lines: deque[Line] = deque()
        self._num = 0
        self._size_bytes = 0
        self._end: LogPlace | None = None  # of what was told last
        self._left_out = 0  # bytes that are missing before the next line
        self._rest = b""  # the line that has no end yet

    def is_heard(self, island: str, epoch: int) -> bool:
        """Whether anything was told by this island under this epoch, and by none since."""
        end = self._end
        return end is not None and (end.island, end.epoch) == (island, epoch)

    def add(self, piece: LogPiece) -> None:
        """Take what was not told before; a piece of another writer ends the former one's."""
        with self._changed:
            begin, text = piece.begin, piece.text
            if not self.is_heard(begin.island, begin.epoch):
                self._finish()
                self._end, self._left_out = begin, 0
            assert self._end is not None
            known = self._end.offset - begin.offset
            if known < 0:  # some bytes were left out
                self._finish()
                self._left_out -= known
                self._end, known = begin, 0
            self._split(text[known:])
            self._changed.notify_all()

    def finish(self) -> None:
        """No more will come of the line that has no end."""
        with self._changed:
            self._finish()

    def last(self, num: int) -> int:
        """Number of the first of the last ``num`` lines."""
        with self._changed:
            return max(self._first, self._num - num)

    def beyond(self, place: LogPlace) -> int:
        """Number of the first line that was not read when a reader had come so far."""
        with self._changed:
            source = (place.island, place.epoch)
            read = [
                line.number
                for line in self._lines
                if (line.end.island, line.end.epoch) == source and line.end.offset <= place.offset
            ]
            return max(read, default=self._first - 1) + 1

    def since(self, number: int) -> list[Line]:
        """The lines from a number on, as far as they are kept."""
        with self._changed:
            return [line for line in self._lines if line.number >= number]

    def wait(self, number: int, seconds: float) -> None:
        """Until there is a line of this number, or something else is told; so long at most."""
        with self._changed:
            if self._num <= number:
                self._changed.wait(seconds)

    @property
    def _first(self) -> int:
        return self._lines[0].number if self._lines else self._num

    def _split(self, text: bytes) -> None:
        *lines, rest = (self._rest + text).split(b"\n")
        assert self._end is not None
        at = self._end.offset - len(self._rest)
        for line in lines:
            at += len(line) + 1
            self._append(line, at)
        while len(rest) > _MOST_LINE_BYTES:
            at += _MOST_LINE_BYTES
            self._append(rest[:_MOST_LINE_BYTES], at)
            rest = rest[_MOST_LINE_BYTES:]
        self._rest = rest
        self._end = LogPlace(self._end.island, self._end.epoch, at + len(rest))

    def _finish(self) -> None:
        if self._rest and self._end:
            self._append(self._rest, self._end.offset)
        self._rest = b""

    def _append(self, line: bytes, end: int) -> None:
        assert self._end is not None
        place = LogPlace(self._end.island, self._end.epoch, end)
        told = Line(self._num, line.decode(errors="replace"), place, self._left_out)
        self._left_out = 0
        self._lines.append(told)
        self._num += 1
        self._size_bytes += _size_of(told)
        while self._size_bytes > _MOST_BYTES:
            self._size_bytes -= _size_of(self._lines.popleft())


def _size_of(line: Line) -> int:
    return len(line.text.encode()) + _LINE_COSTS_BYTES


class LogBook:
    """The logs that are read, by name of the job or the island."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers: Counter[str] = Counter()
        self._logs: dict[str, Log] = {}

    @contextmanager
    def reading(self, name: str) -> Iterator[Log]:
        """Inside, the log of this name is wanted, and kept."""
        with self._changed:
            self._readers[name] += 1
            log = self._logs.setdefault(name, Log(self._changed))
        try:
            yield log
        finally:
            with self._changed:
                self._readers[name] -= 1
                if not self._readers[name]:
                    del self._readers[name], self._logs[name]

    def wanted(self, agent: Collection[str], trainer: Collection[str] = ()) -> LogsWanted:
        """Whether somebody reads an agent's log, and its trainer's, by any of their names."""
        return LogsWanted(
            any(name in self._logs for name in agent), any(name in self._logs for name in trainer)
        )

    def add(self, piece: LogPiece, names: Collection[str]) -> bool:
        """Take a piece wherever somebody reads it; whether somebody does."""
        logs = [log for log in map(self._logs.get, names) if log is not None]
        for log in logs:
            log.add(piece)
        return bool(logs)
