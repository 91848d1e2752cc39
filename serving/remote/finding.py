"""Servers of experts that tell where they are, in a DHT or to the run's orchestrator.

A record tells a gateway whom to call, and no more: whom a server speaks for it says itself, over
TLS, to whoever calls it. So a record that lies costs a call that comes to nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Self

from atoll.clock import Clock
from atoll.errors import AtollError
from membership.place import Place
from membership.record import Kind, Record

_log = logging.getLogger(__name__)

_LOOK_S = 2.0

Revoked = Callable[[], Collection[str]]  # URIs of who is shut out at the moment


class Finder:
    """Looks in a thread of its own, in one place.

    Whom it has found it knows until their record ends, or says that they have left: a place that
    was started anew knows nobody yet. While the place does not answer it forgets nobody but who is
    revoked.
    """

    def __init__(self, place: Place, model: str, clock: Clock, revoked: Revoked = tuple) -> None:
        """Find nobody yet.

        Args:
            place: where servers are announced.
            model: see :func:`membership.servers.model_of`.
            clock: whose wall clock ends records.
            revoked: whose word does not count.
        """
        self._place, self._model = place, model
        self._clock, self._revoked = clock, revoked
        self._known: dict[str, Record] = {}
        self._addresses: frozenset[str] = frozenset()
        self._trouble = ""
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._work, name="finding", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def addresses(self) -> Collection[str]:
        """Of those who are known."""
        return self._addresses

    def look(self) -> None:
        """Look once."""
        known, now = self._known, self._clock.wall()
        try:
            found = self._place.find(self._model, Kind.EXPERTS)
        except AtollError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("servers are not found", extra={"fields": {"error": self._trouble}})
        else:
            self._trouble = ""
            known = known | {record.name: record for record in found.records}
            known = {
                name: record
                for name, record in known.items()
                if record.until >= now and name not in found.left
            }
        revoked = self._revoked()
        self._known = {name: it for name, it in known.items() if it.by not in revoked}
        self._addresses = frozenset(each.address for each in self._known.values() if each.address)

    def _work(self) -> None:
        while not self._left.is_set():
            self.look()
            self._left.wait(_LOOK_S)
