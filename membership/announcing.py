"""Keeping a record in the DHT for as long as it is true."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from atoll.authority import Pair
from atoll.errors import AtollError
from membership.dht import Dht
from membership.record import Record

log = logging.getLogger(__name__)

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
        saying: what is true now, and the certificate of who it is about; None, or an error, if
            there is nothing to say yet.
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
    trouble = ""
    while not left.is_set():
        pause_s = _RETRY_S
        try:
            if (true := saying()) is not None:
                dht.announce(*true)
                said, pause_s, trouble = true, _KEEP_S, ""
        except AtollError as error:
            if str(error) != trouble:
                trouble = str(error)
                log.warning("not announced", extra={"fields": {"error": trouble}})
        left.wait(pause_s)
    if said is not None:
        record, by = said
        try:
            dht.announce(replace(record, left=True), by)
        except AtollError as error:
            log.warning("announced for another minute", extra={"fields": {"error": str(error)}})
