"""Whether the orchestrator answers, and how long an island goes on without it."""

from __future__ import annotations

import logging
import random

from atoll.clock import Clock
from atoll.errors import Unreachable

log = logging.getLogger(__name__)

_MAX_PAUSE_S = 2.0


class Contact:
    """Counts the silence of an orchestrator that may well come back."""

    def __init__(self, orphan_s: float, clock: Clock) -> None:
        """Begin as if it had just answered; give up after ``orphan_s`` seconds without it."""
        self._orphan_s = orphan_s
        self._clock = clock
        self._answered_at = clock.monotonic()
        self._num_missed = 0

    def answered(self) -> None:
        """It answered."""
        if self._num_missed:
            log.info("the orchestrator answers again")
        self._answered_at = self._clock.monotonic()
        self._num_missed = 0

    def missed(self, error: Unreachable) -> None:
        """It did not answer.

        Raises:
            Unreachable: not for so long that the island is on its own.
        """
        silent_s = self._clock.monotonic() - self._answered_at
        if silent_s > self._orphan_s:
            raise Unreachable(f"{error} for {silent_s:.0f} s; stopping") from error
        if not self._num_missed:
            fields = {"error": str(error), "trying_on_s": self._orphan_s}
            log.warning("the orchestrator does not answer", extra={"fields": fields})
        self._num_missed += 1

    def pause_s(self, usual_s: float) -> float:
        """How long to wait before the next call: longer the more were missed, never in step."""
        patient_s = min(usual_s * 2.0 ** min(self._num_missed, 16), max(usual_s, _MAX_PAUSE_S))
        spread = random.uniform(0.7, 1.3)  # noqa: S311 - keeps islands apart, guards nothing
        return patient_s * spread
