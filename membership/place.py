"""Where records are kept for others to find: in a DHT, or by an orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from atoll.errors import Unreachable
from membership.found import Found
from membership.record import Kind, Record

if TYPE_CHECKING:
    from atoll.authority import Pair


class Nowhere(Unreachable):
    """Nobody keeps records at the moment, and there is nothing wrong with that."""


class Place(Protocol):
    """Tells others of records until they end. Threads may share it."""

    def announce(self, record: Record, by: Pair | None) -> None:
        """Let others find a record for a minute.

        Args:
            record: what to say; its end is set here.
            by: certificate and key of who it is about; None where calls are in plain text.

        Raises:
            Unreachable: nobody has taken it.
        """
        ...

    def find(self, run: str, kind: Kind) -> Found:
        """Who of a kind there is in a run. Raises: Unreachable, nobody answers."""
        ...
