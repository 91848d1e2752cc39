"""Keeping a record where others find it for as long as it is true."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.errors import AtollError
from membership.place import Nowhere, Place
from membership.record import Record

if TYPE_CHECKING:
    from atoll.authority import Pair

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_KEEP_S = 20.0  # a third of what a record lasts
_RETRY_S = 5.0
_LEAVE_S = 5.0

Saying = Callable[[], "tuple[Record, Pair | None] | None"]


@contextmanager
def announced(place: Place, saying: Saying) -> Iterator[None]:
    """Inside, a record stands there; afterwards it says that who it is about has left.

    A place that does not answer holds up nobody.

    Args:
        place: where.
        saying: what is true now, and the certificate of who it is about; asked every second. None,
            or an error, if there is nothing to say.
    """
    left = threading.Event()
    keeping = threading.Thread(
        target=_keep, args=(place, saying, left), name="announcing", daemon=True
    )
    keeping.start()
    try:
        yield
    finally:
        left.set()
        keeping.join(_LEAVE_S)


def _keep(place: Place, saying: Saying, left: threading.Event) -> None:
    said: tuple[Record, Pair | None] | None = None
    trouble, renew_at = "", -math.inf
    while not left.is_set():
        pause_s = _LOOK_S
        try:
            true = saying()
            if true and (said is None or true[0] != said[0] or time.monotonic() >= renew_at):
                place.announce(*true)
                said, trouble, renew_at = true, "", time.monotonic() + _KEEP_S
        except AtollError as error:
            if str(error) != trouble:
                trouble = str(error)
                level = logging.DEBUG if isinstance(error, Nowhere) else logging.WARNING
                log.log(level, "not announced", extra={"fields": {"error": trouble}})
            pause_s = _RETRY_S
        left.wait(pause_s)
    if said is not None:
        record, by = said
        try:
            place.announce(replace(record, left=True), by)
        except AtollError as error:
            log.warning("announced for another minute", extra={"fields": {"error": str(error)}})
