"""Servers of experts that say in the DHT where they are.

A record tells a gateway whom to call, and no more: whom a server speaks for it says itself, over
TLS, to whoever calls it. So a record that lies costs a call that comes to nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from typing import Self

from atoll.errors import AtollError
from membership.dht import Dht
from membership.record import Kind

_log = logging.getLogger(__name__)

_LOOK_S = 2.0


class Finder:
    """Looks in a thread of its own; what it has found last stays, while no peer answers."""

    def __init__(self, dht: Dht, model: str) -> None:
        """Find nobody yet.

        Args:
            dht: where servers are announced.
            model: see :func:`model_of`.
        """
        self._dht, self._model = dht, model
        self._known: frozenset[str] = frozenset()
        self._trouble = ""
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._work, name="finding", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def addresses(self) -> Collection[str]:
        """Of those found last."""
        return self._known

    def look(self) -> None:
        """Look once."""
        try:
            found = self._dht.find(self._model, Kind.EXPERTS)
        except AtollError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("no peer answers", extra={"fields": {"error": self._trouble}})
            return
        self._trouble = ""
        self._known = frozenset(each.address for each in found.records if each.address)

    def _work(self) -> None:
        while not self._left.is_set():
            self.look()
            self._left.wait(_LOOK_S)


def model_of(partition: str) -> str:
    """Under which name in the DHT servers of a run's experts are found, wherever it was copied.

    Args:
        partition: digest of the partition that they were trained on.
    """
    return f"partition-{partition[:32]}"
