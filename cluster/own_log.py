"""What a process logs, kept for those who ask for it, wherever else it goes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.logs import JsonLines

_MOST_BYTES = 64 << 10


class OwnLog(logging.Handler):
    """The end of a process's log as JSON lines; see :class:`cluster.log_sender.LogSource`."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._size = 0
        self._kept = b""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; the oldest bytes make room for it."""
        line = f"{self.format(record)}\n".encode(errors="replace")
        self._size += len(line)
        self._kept = (self._kept + line)[-_MOST_BYTES:]

    @property
    def size(self) -> int:
        """Bytes that were ever written."""
        with self._whole():
            return self._size

    def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """Some bytes from ``offset`` on, or from the first that is kept; and where they begin."""
        with self._whole():
            begin = max(offset, self._size - len(self._kept))
            start = len(self._kept) - (self._size - begin)
            return begin, self._kept[start : start + most]

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Inside, no other thread is in the middle of a line."""
        self.acquire()
        try:
            yield
        finally:
            self.release()
