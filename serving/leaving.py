"""How a serving process leaves: it finishes what it has, and then its readers get a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from atoll.clock import Clock
from atoll.errors import AtollError, Interrupted
from serving.service.service import Service
from serving.signals import Signals

_LOOK_S = 0.2
_GRACE_S = 5.0  # to read the last answers
_SHORT_GRACE_S = 1.0  # to be told that there are none

Stop = Callable[[float], None]


class Leaving:
    """All of it within ``serving.drain_s``, but for the last words to those who still read."""

    def __init__(self, service: Service, signals: Signals, drain_s: float, clock: Clock) -> None:
        """Stay, as yet.

        Args:
            service: is to finish.
            signals: may say that this takes too long.
            drain_s: that it may take.
            clock: for that.
        """
        self._service, self._signals, self._drain_s, self._clock = service, signals, drain_s, clock
        self._over_at = clock.monotonic()

    def drain(self) -> None:
        """Finish what was accepted, and take no more.

        Raises:
            AtollError: there was no time for some of it.
            Interrupted: likewise, because a second signal came.
        """
        self._over_at = self._clock.monotonic() + self._drain_s
        while not self._service.drain(_LOOK_S):
            left = f"images that are not finished: {self._service.num_waiting}"
            if self._signals.is_urgent:
                self._service.give_up()
                raise Interrupted(f"interrupted again; {left}")
            if not self._service.is_healthy:
                self._service.give_up()
                raise AtollError(f"it draws no more, and the log says why; {left}")
            if self._clock.monotonic() > self._over_at:
                self._service.give_up()
                raise AtollError(
                    f"serving.drain_s = {self._drain_s:g} is over; {left}; raise it to wait longer"
                )

    def stop(self, stops: Sequence[Stop]) -> None:
        """Stop all front ends side by side; a second signal meanwhile ends it at once.

        Args:
            stops: what stops each, given the seconds that its readers have.
        """
        is_cut = self._signals.is_urgent
        left_s = 0.0 if is_cut else self._over_at - self._clock.monotonic()
        stopping = _begun(stops, min(max(left_s, _SHORT_GRACE_S), _GRACE_S))
        while any(each.is_alive() for each in stopping):
            if self._signals.is_urgent and not is_cut:
                is_cut = True
                stopping += _begun(stops, 0.0)
            for each in stopping:
                each.join(_LOOK_S)


def _begun(stops: Sequence[Stop], grace_s: float) -> list[threading.Thread]:
    stopping = [threading.Thread(target=stop, args=[grace_s]) for stop in stops]
    for each in stopping:
        each.start()
    return stopping
