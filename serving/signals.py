"""What a serving process is told from outside."""

from __future__ import annotations

import signal
import threading


class Signals:
    """SIGTERM and SIGINT: leave once you have finished; the second one: at once."""

    def __init__(self) -> None:
        """Listen from now on; by the main thread."""
        self._num = 0
        self._told = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._count)

    def wait(self) -> None:
        """Until the first."""
        while not self._told.wait(1.0):  # a wait without an end would not be interrupted
            pass

    @property
    def is_urgent(self) -> bool:
        """Whether there was a second."""
        return self._num > 1

    def _count(self, *_: object) -> None:
        self._num += 1
        self._told.set()
