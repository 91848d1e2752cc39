"""Tells the control plane what an island's logs gain, as long as somebody reads them there.

Islands only ever call: an answer says that a log is wanted, and from then on it is sent.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atoll.clock import Clock
from atoll.control import ControlPlane
from atoll.errors import ControlError
from atoll.log_codec import MOST_BYTES
from atoll.log_types import LogPiece, LogPlace

log = logging.getLogger(__name__)

_PAUSE_S = 0.25
_RETRY_S = 2.0
_FLUSH_S = 2.0  # whoever reads along must not keep an island from its next job
_BACKLOG_BYTES = 4 * MOST_BYTES  # who is further behind goes on at the end


class LogSource(Protocol):
    """A text that only grows."""

    @property
    def size(self) -> int:
        """Bytes that were ever written."""
        ...

    def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """Some bytes from ``offset`` on, or from the first that is kept; and where they begin."""
        ...


class FileLog:
    """A log in a file; see :class:`LogSource`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def size(self) -> int:
        """Its bytes so far."""
        return self._path.stat().st_size

    def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """See :class:`LogSource`."""
        with self._path.open("rb") as file:
            file.seek(offset)
            return offset, file.read(most)


@dataclass(frozen=True, slots=True)
class TrainerLog:
    """What the trainer of one lease writes."""

    job: str
    epoch: int
    source: LogSource


class LogSender:
    """Speaks for the logs of one island."""

    def __init__(self, control: ControlPlane, island: str, own: LogSource, clock: Clock) -> None:
        """Begin; nothing is wanted yet.

        Args:
            control: whose answers say what is wanted, and who gets it.
            island: name of the island.
            own: what its agent writes.
            clock: for pauses.
        """
        self._control = control
        self._island = island
        self._own = own
        self._clock = clock
        self._told: dict[tuple[str, int], int] = {}  # bytes, by job and epoch
        self._not_before = -math.inf

    def send(self, trainer: TrainerLog | None = None) -> None:
        """Tell what is new, some times a second at most.

        Args:
            trainer: what works at this moment.
        """
        if self._clock.monotonic() < self._not_before:
            return
        self._not_before = self._clock.monotonic() + _PAUSE_S
        self._send_wanted(trainer)

    def flush(self, trainer: TrainerLog | None = None) -> None:
        """Tell all that was written, now that a trainer has ended or its lease is given back."""
        give_up_at = self._clock.monotonic() + _FLUSH_S
        while self._send_wanted(trainer) and self._clock.monotonic() < give_up_at:
            pass

    def _send_wanted(self, trainer: TrainerLog | None) -> bool:
        """Whether there was anything to tell, and it was told."""
        wanted = self._control.logs_wanted
        logs = [TrainerLog("", 0, self._own)] if wanted.agent else []
        logs += [trainer] if wanted.trainer and trainer else []
        keys = {(each.job, each.epoch) for each in logs}
        self._told = {key: told for key, told in self._told.items() if key in keys}
        try:
            sent = [self._send(each) for each in logs]
        except (ControlError, OSError) as error:
            # Told once more from the end of the log on; what arrived is known by its place.
            self._told.clear()
            self._not_before = self._clock.monotonic() + _RETRY_S
            log.debug("log not sent", extra={"fields": {"error": str(error)}})
            return False
        return True in sent

    def _send(self, what: TrainerLog) -> bool:
        key, size = (what.job, what.epoch), what.source.size
        told = self._told.get(key, -1)
        if told < 0 or size - told > _BACKLOG_BYTES:
            begin, text = what.source.read(max(0, size - MOST_BYTES), MOST_BYTES)
            cut = text.find(b"\n") + 1 if begin else 0  # the first line may lack its beginning
            begin, text = begin + cut, text[cut:]
        else:
            begin, text = what.source.read(told, MOST_BYTES)
        if told >= 0 and not text:
            return False
        place = LogPlace(self._island, what.epoch, begin)
        wanted = self._control.send_log(LogPiece(place, what.job, text))
        if wanted:
            self._told[key] = begin + len(text)
        else:
            self._told.pop(key, None)
        return wanted and bool(text)
