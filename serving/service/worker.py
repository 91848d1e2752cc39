"""The thread that draws: it ticks every engine there is, for as long as there is anything to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from serving.engine.engine import Engine

_log = logging.getLogger(__name__)
_REST_S = 0.2  # after which deadlines are looked at, where nothing else happens


class Worker:
    """Engines are looked up anew between two ticks, so that they can be exchanged there."""

    def __init__(self, engines: Callable[[], Sequence[Engine]], bell: threading.Event) -> None:
        """Draw nothing yet.

        Args:
            engines: those there are now.
            bell: is rung whenever there may be something to do.
        """
        self._engines, self._bell = engines, bell
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="painting", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End after this tick."""
        self._stopped = True
        self._bell.set()
        self._thread.join()

    def _tick_all(self) -> bool:
        ticked = [_ticked(engine) for engine in self._engines()]  # all of them, whatever one says
        return any(ticked)

    def _work(self) -> None:
        while not self._stopped:
            self._bell.clear()
            if not self._tick_all():
                self._bell.wait(_REST_S)


def _ticked(engine: Engine) -> bool:
    try:
        return engine.tick()
    except Exception as error:  # the engine knows no way out; others' requests still can be drawn
        _log.exception("a tick raised")
        engine.fail_all(f"the engine broke off with {type(error).__name__}; ask again")
        return False
