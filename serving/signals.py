"""What a serving process is told from outside."""

from __future__ import annotations

import signal
import time

_LOOK_S = 0.1


class Signals:
    """SIGTERM and SIGINT: leave once you have finished; the second one: at once."""

    def __init__(self) -> None:
        """Listen from now on; by the main thread."""
        self._num = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._count)

    def wait(self) -> None:
        """Until the first."""
        while not self._num:  # a handler must not set what its own thread may be waiting in
            time.sleep(_LOOK_S)

    @property
    def is_urgent(self) -> bool:
        """Whether there was a second."""
        return self._num > 1

    def _count(self, *_: object) -> None:
        self._num += 1
