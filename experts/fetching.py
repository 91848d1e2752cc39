"""What a trainer tells of its shards while they come to hand, so that it does not seem stuck."""

from __future__ import annotations

import logging
import math
import threading
import time

from atoll.relay import Speaker
from atoll.types import Assignment, Progress
from experts.task import Place

logger = logging.getLogger(__name__)

_TELL_S = 2.0


class Fetching:
    """Counts bytes, and tells agent and log of them every other second.

    Args:
        assignment: what is to be trained.
        speaker: to the agent.
        place: the first process of an island speaks for all.
    """

    def __init__(self, assignment: Assignment, speaker: Speaker, place: Place) -> None:
        self._step = assignment.checkpoint.step if assignment.checkpoint else 0
        self._speaker, self._speaks = speaker, place.rank == 0
        self._one_at_a_time = threading.Lock()
        self._bytes = 0
        self._began = self._told = time.monotonic()

    def heard(self, num_bytes: int) -> None:
        """So many bytes more are at hand; called by any thread."""
        with self._one_at_a_time:
            self._bytes += num_bytes
            if self._speaks and time.monotonic() - self._told >= _TELL_S:
                self._told = time.monotonic()
                logger.info("fetching shards", extra={"fields": {"bytes": self._bytes}})
                self._say(self._bytes)

    def done(self) -> None:
        """All are at hand."""
        if self._speaks:
            took = round(time.monotonic() - self._began, 3)
            fields = {"bytes": self._bytes, "seconds": took}
            logger.info("shards at hand", extra={"fields": fields})
            if self._told > self._began:
                self._say(0)

    def _say(self, num_bytes: int) -> None:
        self._speaker.say(Progress(self._step, math.nan, 0.0, num_bytes))
