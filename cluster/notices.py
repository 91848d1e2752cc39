"""A cloud's word that it takes this node back, heeded as SIGTERM is.

Asked for in the background. Where no service answers, the island goes on without.
"""

from __future__ import annotations

import logging
import threading

from atoll.clock import Clock
from cluster.clouds import Cloud
from cluster.tenure import Orders

log = logging.getLogger(__name__)

_POLL_S = 2.0


def heed_notices(cloud: Cloud, orders: Orders, clock: Clock) -> None:
    """Look for a notice until the island leaves, from a thread of its own.

    Args:
        cloud: whom to ask.
        orders: what the island is told when there is one.
        clock: for pauses, and the time that is left.
    """
    name = f"notices of {cloud.name}"
    threading.Thread(target=_heed, args=(cloud, orders, clock), name=name, daemon=True).start()


def _heed(cloud: Cloud, orders: Orders, clock: Clock) -> None:
    warned = False
    while not orders.drain:
        try:
            why = cloud.notice(clock.wall())
        except Exception as error:  # whatever is answered there must not end the asking
            if not warned:
                fields = {"cloud": cloud.name, "error": repr(error)}
                log.warning("no notice can be had; asking on", extra={"fields": fields})
            warned = True
        else:
            if why:
                log.warning("the node is taken back", extra={"fields": {"why": why}})
                orders.leave(why)
                return
        clock.sleep(_POLL_S)
