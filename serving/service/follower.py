"""Newer checkpoints of the run that is served: found, tried, and handed to the service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from atoll.errors import CheckpointMismatch
from serving.engine.events import Done, Event, Failed
from serving.service.edition import Edition
from serving.service.order import Order
from serving.service.service import Service

log = logging.getLogger(__name__)

_REST_S = 0.01  # between two looks at the probe
_PATIENCE_S = 5.0  # with a store that stalls, at the end
_MOST_SKIPPED = 60  # looks, after checkpoints that could not be had


class Follower:
    """A thread that looks at the store now and then."""

    def __init__(
        self,
        service: Service,
        newest: Callable[[], str],
        load: Callable[[], Edition],
        every_s: float,
    ) -> None:
        """Look at nothing yet.

        Args:
            service: draws.
            newest: name of the edition that the run's newest checkpoints are.
            load: makes it, beside those there are.
            every_s: between two looks.
        """
        self._service, self._newest, self._load, self._every_s = service, newest, load, every_s
        self._seen = {service.edition.name}
        self._num_failures = self._looks_to_skip = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, whatever it is at."""
        self._stopped.set()
        self._thread.join(_PATIENCE_S)

    def look(self) -> None:
        """Hand over what is newer, once; what cannot be had is tried again more and more seldom."""
        if self._looks_to_skip > 0:
            self._looks_to_skip -= 1
            return
        try:
            name = self._newest()
            if name in self._seen:
                return
            edition = self._load()
        except Exception as error:  # whatever a store raises
            self._put_off(error)
            return
        try:
            prove(edition, self._stopped)
        except Exception as error:  # whatever an engine raises
            if isinstance(error, CheckpointMismatch) and not edition.share.lost:
                self._seen.add(name)  # all of it was read, and will be no better
            edition.share.close()
            self._put_off(error)
        else:
            self._seen |= {name, edition.name}
            self._num_failures = 0
            self._service.try_out(edition)

    def _put_off(self, error: Exception) -> None:
        log.warning("newer checkpoints are not served", extra={"fields": {"reason": str(error)}})
        self._looks_to_skip = min(2**self._num_failures, _MOST_SKIPPED)
        self._num_failures += 1

    def _work(self) -> None:
        while not self._stopped.wait(self._every_s):
            self.look()


def prove(edition: Edition, stopped: threading.Event) -> None:
    """Draw an image with all experts: each is read and verified, and has to say finite numbers.

    Args:
        edition: that nobody draws from yet.
        stopped: whether to give up.

    Raises:
        CheckpointMismatch: it cannot be drawn from; says why.
    """
    told: list[Event] = []
    order = Order(seed=0, steps=1, strategy="full", exact=True)
    edition.engine.submit(edition.menu.planned(order, "probe").request, told.append)
    while not (told and isinstance(told[-1], Done | Failed)):
        if stopped.is_set():
            raise CheckpointMismatch("the service ends")
        if not edition.engine.tick():
            stopped.wait(_REST_S)
    if isinstance(told[-1], Failed):
        raise CheckpointMismatch(f"edition {edition.name} draws no probe: {told[-1].reason}")
