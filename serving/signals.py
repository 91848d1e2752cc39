"""What a serving process is told from outside."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.errors import Interrupted

_LOOK_S = 0.1


class Signals:
    """SIGTERM and SIGINT: leave once you have finished; the second one: at once."""

    def __init__(self) -> None:
        """Listen from now on; by the main thread."""
        self._num = 0
        self._is_starting = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._count)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Break off what is done meanwhile, wherever it is: nobody waits. Raises: Interrupted."""
        self._is_starting = True
        try:
            yield
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted before it served anybody") from error
        finally:
            self._is_starting = False

    def wait(self, holds: Callable[[], bool] = lambda: True) -> None:
        """Until the first, or for as long as something holds."""
        # Looked at, because a handler must not set what its own thread may be waiting in.
        while not self._num and holds():
            time.sleep(_LOOK_S)

    @property
    def is_urgent(self) -> bool:
        """Whether there was a second."""
        return self._num > 1

    def _count(self, *_: object) -> None:
        self._num += 1
        if self._is_starting:
            raise KeyboardInterrupt  # which nothing takes for an error that it could mend
