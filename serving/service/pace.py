"""How fast images are finished, measured lately."""

from __future__ import annotations

import threading
from collections import deque

from atoll.clock import Clock

_WINDOW_S = 60.0
_MOST = 1000


class Pace:
    """Any thread may call it."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is known yet."""
        self._clock = clock
        self._guard = threading.Lock()
        self._finished_at: deque[float] = deque(maxlen=_MOST)

    def finished(self) -> None:
        """An image is."""
        with self._guard:
            self._finished_at.append(self._clock.monotonic())

    def seconds_for(self, num: int) -> float:
        """About how long so many images take, from 1 s to a minute."""
        now = self._clock.monotonic()
        with self._guard:
            lately = [at for at in self._finished_at if now - at < _WINDOW_S]
        if not lately:
            return 1.0
        return min(_WINDOW_S, max(1.0, num * (now - lately[0]) / len(lately)))
