"""The control plane wherever it is served: an orchestrator's successor may have another address."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from atoll.address import split_address
from atoll.control import ControlPlane
from atoll.errors import Busy, Unreachable
from atoll.gangs import Answer, Call, Seat
from atoll.log_types import LogPiece, LogsWanted
from atoll.traces import Trace, TraceWish
from atoll.types import (
    Assignment,
    CheckpointRef,
    Directive,
    Incident,
    Lease,
    Outcome,
    Progress,
    Wait,
)
from cluster import state_file

log = logging.getLogger(__name__)

T = TypeVar("T")
Seek = Callable[[], Sequence[str]]

_PROBE_S = 0.5


class Client(ControlPlane, Protocol):
    """A control plane that can be told where to go."""

    def move(self, address: str) -> None:
        """Go on with an orchestrator at another address."""
        ...


class Following:
    """See :class:`atoll.control.ControlPlane`.

    Before each call it looks at the file in which the orchestrators of a machine leave their
    address, and goes where the newest of this run is. A call that waits for a frozen one ends at
    its deadline.

    Orchestrators on several machines lead in turn, and only the leader listens. Where a call was
    not answered, the other addresses are tried at once, and then those that a DHT tells; the first
    that answers is stayed with. If none does, the former is called again: one late answer must not
    cost a healthy island its lease.
    """

    def __init__(
        self,
        client: Client,
        addresses: Sequence[str],
        run: str,
        endpoint: Path | None,
        seek: Seek = tuple,
    ) -> None:
        """Begin where a client is.

        Args:
            client: what makes the calls.
            addresses: where the run may be served; the client calls the first.
            run: name of the run.
            endpoint: the file; None goes by the addresses alone.
            seek: more addresses, asked for where none of these is answered.
        """
        self._client = client
        self._addresses = addresses
        self._address = self._told = addresses[0]
        self._run = run
        self._endpoint = endpoint
        self._seek = seek

    def acquire(self, island: str, request_id: str, seat: Seat | None = None) -> Assignment | Wait:
        """See :class:`atoll.control.ControlPlane`."""
        return self._call(lambda client: client.acquire(island, request_id, seat))

    def gather(self, call: Call, deadline_s: float) -> Answer:
        """See :class:`atoll.control.ControlPlane`."""
        return self._call(lambda client: client.gather(call, deadline_s))

    def heartbeat(
        self, lease: Lease, progress: Progress, incidents: Sequence[Incident] = ()
    ) -> Directive:
        """See :class:`atoll.control.ControlPlane`."""
        return self._call(lambda client: client.heartbeat(lease, progress, incidents))

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._call(lambda client: client.commit(lease, checkpoint, loss))

    def release(self, lease: Lease, outcome: Outcome, request_id: str) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._call(lambda client: client.release(lease, outcome, request_id))

    @property
    def logs_wanted(self) -> LogsWanted:
        """See :class:`atoll.control.ControlPlane`."""
        return self._client.logs_wanted

    def send_log(self, piece: LogPiece) -> bool:
        """See :class:`atoll.control.ControlPlane`."""
        return self._followed().send_log(piece)  # not worth a search, if it is not answered

    @property
    def trace_wanted(self) -> TraceWish | None:
        """See :class:`atoll.control.ControlPlane`."""
        return self._client.trace_wanted

    def send_trace(self, lease: Lease, trace: Trace) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._call(lambda client: client.send_trace(lease, trace))

    def _call(self, call: Callable[[Client], T]) -> T:
        client = self._followed()
        try:
            return call(client)
        except Busy:
            raise
        except Unreachable:
            former = self._address
            for other in self._others(former):
                if _listens(other):
                    self._move(other)
                    with suppress(Unreachable):
                        return call(client)
            self._move(former)
            raise

    def _others(self, former: str) -> Iterator[str]:
        known = dict.fromkeys((self._told, *self._addresses))
        yield from (each for each in known if each != former)
        yield from (each for each in self._seek() if each != former and each not in known)

    def _followed(self) -> Client:
        found = state_file.read(self._endpoint) if self._endpoint else None
        # A copied folder brings the file of another run along.
        if found and found.get("run") == self._run and found["address"] != self._told:
            self._told = found["address"]
            self._move(self._told)
        return self._client

    def _move(self, address: str) -> None:
        if address != self._address:
            self._address = address
            log.info("calls another address", extra={"fields": {"address": address}})
            self._client.move(address)


def _listens(address: str) -> bool:
    """Whether anybody does; asked in a fraction of the time that a call may take."""
    host, port = split_address(address)
    try:
        socket.create_connection((host.strip("[]"), port), timeout=_PROBE_S).close()
    except OSError:
        return False
    return True
