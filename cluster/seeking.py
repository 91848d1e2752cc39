"""Finds the run's orchestrator in the DHT, for an agent that does not know where it is any more."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Self

from atoll.clock import Clock
from atoll.errors import AtollError, Unreachable
from cluster.contact import Contact
from cluster.tenure import Orders
from membership.dht import Dht
from membership.found import Found
from membership.record import Kind

_LOOK_S = 20.0
# While the orchestrator is missed: a restarted one waits for nobody longer than a lease.
_SEEK_S = 1.0
_MISSED_S = 15.0  # since somebody asked last; agents ask at every call that fails
_WAIT_S = 0.2


class Seeker:
    """Looks in a thread of its own: a heartbeat must not wait for peers that may be away."""

    def __init__(self, dht: Dht, run: str, clock: Clock) -> None:
        """Look for nobody yet.

        Args:
            dht: where it is announced.
            run: name of the run.
            clock: this machine's.
        """
        self._dht = dht
        self._run = run
        self._clock = clock
        self._asked_at = -math.inf
        self._known: tuple[str, ...] = ()
        self._trouble = ""
        self._wanted = threading.Event()
        self._left = threading.Event()

    def __enter__(self) -> Self:
        """Look every 20 s from now on, and every second while somebody asks."""
        threading.Thread(target=self._look_until_left, name="seeking", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._wanted.set()

    def addresses(self) -> Sequence[str]:
        """Where orchestrators of the run said last that they are; the newest leader's first.

        Who asks misses it: it is looked for from now on, and told to who asks again.
        """
        self._asked_at = self._clock.monotonic()
        self._wanted.set()
        return self._known

    def first(self, orders: Orders, contact: Contact) -> Sequence[str]:
        """Wait until somebody is found; () if the island was told to leave meanwhile.

        Raises:
            Unreachable: nobody was, for too long.
        """
        while not orders.drain:
            if found := self.addresses():
                return found
            if self._trouble:
                contact.missed(Unreachable(self._trouble))
            self._clock.sleep(_WAIT_S)
        return ()

    def look(self) -> None:
        """Look once."""
        try:
            found = self._dht.find(self._run, Kind.ORCHESTRATOR)
        except AtollError as error:
            self._trouble = str(error)
            return
        self._known = tuple(each.address for each in found.records) or self._known
        self._trouble = "" if found.records else _why_nobody(self._run, found)

    def _look_until_left(self) -> None:
        while not self._left.is_set():
            self.look()
            if self._clock.monotonic() - self._asked_at < _MISSED_S:
                self._left.wait(_SEEK_S)
            else:
                self._wanted.wait(_LOOK_S)
            self._wanted.clear()


def _why_nobody(run: str, found: Found) -> str:
    if not found.num_refused:
        return f"no orchestrator of run {run} is announced at the peers"
    return (
        f"the peers tell of orchestrators of run {run}, but none of {found.num_refused} records is "
        "both signed by the authority of the join token and not yet over"
    )
