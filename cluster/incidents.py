"""What an island came over by itself, until its orchestrator knows."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.reasons import brief
from atoll.types import MOST_INCIDENTS, Incident, IncidentKind


class Incidents:
    """Those of one lease, in order."""

    def __init__(self) -> None:
        self._num = 0
        self._untold: list[Incident] = []

    def add(self, kind: IncidentKind, reason: str) -> None:
        """One more."""
        self._num += 1
        self._untold.append(Incident(self._num, kind, brief(reason)))

    @property
    def untold(self) -> Sequence[Incident]:
        """What to tell next."""
        return self._untold[:MOST_INCIDENTS]

    def told(self, incidents: Sequence[Incident]) -> None:
        """These were heard."""
        del self._untold[: len(incidents)]
