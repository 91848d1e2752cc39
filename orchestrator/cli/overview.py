"""A run as a whole, live: jobs, leases and islands, what it has cost, and what happened last."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, Protocol

from atoll.types import Event
from atoll.views import FleetView
from orchestrator.cli.changes import Changes
from orchestrator.cli.in_place import InPlace, table_of
from orchestrator.cli.live import Lines, Pace, Watch, rows
from orchestrator.cli.rows import island_row, islands_of, server_row, spent_in_words

_MOST_EVENTS = 8


class Sight(Watch, Protocol):
    """A watch that is told of events, too."""

    def happened(self, event: Event) -> None:
        """Something new."""
        ...


class EventLines(Lines):
    """For a file or a pipe: a line whenever a job stands differently; events say the same."""

    def happened(self, event: Event) -> None:
        """See :class:`Sight`."""


class Overview(InPlace):
    """For a terminal: all tables, and the latest events below."""

    def __init__(self, title: str, pace: Pace) -> None:
        super().__init__()
        self._title = title
        self._pace = pace
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)

    def happened(self, event: Event) -> None:
        """See :class:`Sight`."""
        self._events.append(event)

    def show(self, view: FleetView) -> None:
        """See :class:`orchestrator.cli.live.Watch`."""
        from rich.text import Text

        leases = {job.spec.name: job.lease_left_s for job in view.jobs}
        jobs = [
            row | {"lease": f"{leases[row['job']]:.0f} s" if row["state"] == "training" else None}
            for row in rows(view, self._pace)
        ]
        islands = [island_row(each) for each in islands_of(view)]
        drains = "; the fleet drains" if view.draining else ""
        parts = [table_of(jobs, self._title), Text(f"{spent_in_words(view)}{drains}\n", "dim")]
        if islands:
            parts.append(table_of(islands, "islands"))
        if view.servers:
            servers = [server_row(each) for each in view.servers]
            parts.append(table_of(servers, "servers of experts"))
        self.draw(*parts, *(_line(event) for event in self._events))


def sight_of(title: str, pace: Pace, *, as_json: bool) -> Sight:
    """What fits who looks: a program, a person at a terminal, or a file."""
    if as_json:
        return Changes()
    return Overview(title, pace) if sys.stderr.isatty() else EventLines(pace.clock)


def _line(event: Event) -> Any:
    from rich.text import Text

    when = time.strftime("%H:%M:%S", time.localtime(event.at))
    whom = " ".join(part for part in (event.job, event.island) if part)
    line = Text(f"{when}  ", "dim", no_wrap=True, overflow="ellipsis")
    return line.append(event.kind, "bold").append(f" {whom}: {event.reason}", "default")
