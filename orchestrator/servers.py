"""Servers of experts that have told the orchestrator of themselves, until their records end.

Nothing of it is stored: each of them tells it again three times a minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from atoll.clock import Clock
from atoll.errors import Busy, Refused
from atoll.views import ServerView
from membership.record import LASTS_S, SKEW_S, Record
from membership.servers import ServerFacts

_MOST_BYTES = 3 << 20  # of all records: they go into one message of 4 MiB
_MOST_BYTES_OF_ONE = _MOST_BYTES // 2  # who has signed them

Revoked = Callable[[], Collection[str]]  # URIs of who is shut out at the moment


@dataclass(frozen=True, slots=True)
class _Kept:
    record: Record
    data: bytes


class Servers:
    """Records by run and name; threads may share it."""

    def __init__(self, clock: Clock) -> None:
        """Know nobody yet.

        Args:
            clock: whose wall clock ends records.
        """
        self._clock = clock
        self._revoked: Revoked = tuple
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], _Kept] = {}

    def heed(self, revoked: Revoked) -> None:
        """Know nobody, from now on, for whom somebody of these has signed."""
        self._revoked = revoked

    def keep(self, record: Record, data: bytes) -> None:
        """Keep a record until it ends, that of who has left, too: a former one shall not return.

        Args:
            record: that is believed.
            data: the same as it was told, with its signature.

        Raises:
            Refused: it has ended, or lasts longer than any does.
            Busy: there are too many.
        """
        now, key = self._clock.wall(), (record.run, record.name)
        if not now - SKEW_S <= record.until <= now + LASTS_S + SKEW_S:
            raise Refused(
                f"the record of {record.name} ends {record.until - now:.0f} s from now, and one "
                f"lasts {LASTS_S:.0f} s; set the clocks of both machines"
            )
        with self._lock:
            self._forget(now)
            former = self._kept.get(key)
            others = [it for it in self._kept.values() if it is not former]
            by_same = [it for it in others if it.record.by == record.by]
            for whose, most in ((others, _MOST_BYTES), (by_same, _MOST_BYTES_OF_ONE)):
                if sum(len(it.data) for it in whose) + len(data) > most:
                    raise Busy(f"{len(whose)} servers of experts are known, and no more have room")
            if former is None or former.record.until <= record.until:
                self._kept[key] = _Kept(record, data)

    def told(self, run: str) -> list[bytes]:
        """What those of a run have told."""
        return [it.data for it in self._now() if it.record.run == run]

    @property
    def are_there(self) -> bool:
        """Whether any has told of itself and has not left."""
        return any(not it.record.left for it in self._now())

    def view(self) -> tuple[ServerView, ...]:
        """As an operator sees them."""
        now = self._clock.wall()
        here = [it.record for it in self._now() if not it.record.left]
        return tuple(_viewed(record, now) for record in sorted(here, key=lambda each: each.name))

    def _now(self) -> list[_Kept]:
        with self._lock:
            self._forget(self._clock.wall())
            return list(self._kept.values())

    def _forget(self, now: float) -> None:
        revoked = self._revoked()
        self._kept = {
            key: it
            for key, it in self._kept.items()
            if it.record.until >= now and it.record.by not in revoked
        }


def _viewed(record: Record, now: float) -> ServerView:
    told = ServerFacts.read(record.facts)
    experts = tuple(told.experts)
    return ServerView(
        record.address, told.process, experts, told.rows_per_second, record.until - now
    )
