"""A port that the former leader of a run still holds, although it may lead no more.

A leader that froze, or that is cut off from the database, goes on holding its port. Whoever leads
now has it fenced: nothing it does counts. So if it is what stands in the way, it is ended.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from atoll.address import split_address
from cluster import processes
from orchestrator.endpoint import Endpoint

log = logging.getLogger(__name__)

_DYING_S = 10.0


def vacate(address: str, former: Endpoint | None, confirm: Callable[[], object]) -> None:
    """End the former leader's process if, and only if, it holds a port that is asked for.

    Args:
        address: ``host:port`` to listen at; "" and port 0 ask for none.
        former: who served the run last.
        confirm: asks the database itself whether this orchestrator leads: a machine that slept
            has a clock which knows nothing of it.

    Raises:
        Deposed: another orchestrator leads by now, so that this one may end nobody.
        Unreachable: another one may lead.
    """
    port = split_address(address)[1] if address else 0
    process = former.process.find() if former else None
    if not port or process is None or process.pid == os.getpid() or not _holds(process, port):
        return
    confirm()
    fields = {"address": address, "process": process.pid}
    log.warning("ends the former leader, which still holds the port", extra={"fields": fields})
    try:
        processes.kill([process])
    except psutil.AccessDenied:
        return  # another user's; whoever listens next is told that the port is in use
    # A process counts as dead while the last of its threads still holds the port.
    give_up_at = time.monotonic() + _DYING_S
    while _is_held(port) and time.monotonic() < give_up_at:
        time.sleep(0.01)


def _is_held(port: int) -> bool:
    try:
        return _listens(psutil.net_connections(kind="tcp"), port)
    except psutil.Error:
        return False


def _holds(process: psutil.Process, port: int) -> bool:
    try:
        return _listens(process.net_connections(kind="tcp"), port)
    except psutil.Error:
        return False


def _listens(connections: Sequence[Any], port: int) -> bool:
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
