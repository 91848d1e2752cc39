"""The control plane wherever it is served: an orchestrator's successor may have another address."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Protocol

from atoll.control import ControlPlane
from atoll.log_types import LogPiece, LogsWanted
from atoll.types import Assignment, CheckpointRef, Directive, Lease, Outcome, Progress, Wait
from cluster import state_file

log = logging.getLogger(__name__)


class Client(ControlPlane, Protocol):
    """A control plane that can be told where to go."""

    def move(self, address: str) -> None:
        """Go on with an orchestrator at another address."""
        ...


class Following:
    """See :class:`atoll.control.ControlPlane`.

    Before each call it looks at the file in which the orchestrators of a machine leave their
    address, and goes where the newest of this run is. A call that waits for a frozen one ends at
    its deadline; the next goes to the successor.
    """

    def __init__(self, client: Client, address: str, run: str, endpoint: Path | None) -> None:
        """Begin where a client is.

        Args:
            client: what makes the calls.
            address: where it makes them.
            run: name of the run.
            endpoint: the file; None stays with the address.
        """
        self._client = client
        self._address = address
        self._run = run
        self._endpoint = endpoint

    def acquire(self, island: str, request_id: str) -> Assignment | Wait:
        """See :class:`atoll.control.ControlPlane`."""
        return self._moved().acquire(island, request_id)

    def heartbeat(self, lease: Lease, progress: Progress) -> Directive:
        """See :class:`atoll.control.ControlPlane`."""
        return self._moved().heartbeat(lease, progress)

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._moved().commit(lease, checkpoint, loss)

    def release(self, lease: Lease, outcome: Outcome, request_id: str) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._moved().release(lease, outcome, request_id)

    @property
    def logs_wanted(self) -> LogsWanted:
        """See :class:`atoll.control.ControlPlane`."""
        return self._client.logs_wanted

    def send_log(self, piece: LogPiece) -> bool:
        """See :class:`atoll.control.ControlPlane`."""
        return self._moved().send_log(piece)

    def _moved(self) -> Client:
        found = state_file.read(self._endpoint) if self._endpoint else None
        # A copied folder brings the file of another run along.
        if found and found.get("run") == self._run and found["address"] != self._address:
            self._address = found["address"]
            log.info("the orchestrator moved", extra={"fields": {"address": self._address}})
            self._client.move(self._address)
        return self._client
