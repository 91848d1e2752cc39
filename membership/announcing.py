"""Keeping a record in the DHT for as long as it is true."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from atoll.authority import Pair
from atoll.errors import AtollError
from membership.dht import Dht
from membership.record import Record

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_KEEP_S = 20.0  # a third of what a record lasts
_RETRY_S = 5.0
_LEAVE_S = 5.0

Saying = Callable[[], tuple[Record, Pair] | None]


@contextmanager
def announced(dht: Dht, saying: Saying) -> Iterator[None]:
    """Inside, a record stands in the DHT; afterwards it says that who it is about has left.

    A DHT that does not answer holds up nobody.

    Args:
        dht: where.
        saying: what is true now, and the certificate of who it is about; asked every second. None,
            or an error, if there is nothing to say.
    """
    left = threading.Event()
    keeping = threading.Thread(
        target=_keep, args=(dht, saying, left), name="announcing", daemon=True
    )
    keeping.start()
    try:
        yield
    finally:
        left.set()
        keeping.join(_LEAVE_S)


def _keep(dht: Dht, saying: Saying, left: threading.Event) -> None:
    said: tuple[Record, Pair] | None = None
    trouble, renew_at = "", -math.inf
    while not left.is_set():
        pause_s = _LOOK_S
        try:
            true = saying()
            if true and (said is None or true[0] != said[0] or time.monotonic() >= renew_at):
                dht.announce(*true)
                said, trouble, renew_at = true, "", time.monotonic() + _KEEP_S
        except AtollError as error:
            if str(error) != trouble:
                trouble = str(error)
                log.warning("not announced", extra={"fields": {"error": trouble}})
            pause_s = _RETRY_S
        left.wait(pause_s)
    if said is not None:
        record, by = said
        try:
            dht.announce(replace(record, left=True), by)
        except AtollError as error:
            log.warning("announced for another minute", extra={"fields": {"error": str(error)}})
