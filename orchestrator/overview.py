"""A run as a whole, live: jobs, leases and islands, what it has cost, and what happened last."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Protocol, Self

from atoll.command import cell
from atoll.control import ControlClient
from atoll.errors import Busy, ControlError, Refused
from atoll.types import Event, JobState
from atoll.views import FleetView, IslandView, JobView
from orchestrator.watch import Lines, Pace, Watch, rows

_MOST_EVENTS = 8


class Sight(Watch, Protocol):
    """A watch that is told of events, too."""

    def happened(self, event: Event) -> None:
        """Something new."""
        ...


class EventFeed:
    """The events of a run as they happen, heard in the background while this is open."""

    def __init__(self, client: ControlClient, after: int) -> None:
        """Listen from the event on that follows number ``after``."""
        self._client = client
        self._heard: deque[Event] = deque()
        self._number = after
        threading.Thread(target=self._listen, args=(after,), daemon=True).start()

    def take(self) -> list[Event]:
        """Those heard since the last time."""
        taken = [self._heard.popleft() for _ in range(len(self._heard))]
        self._number = taken[-1].number if taken else self._number
        return taken

    @property
    def number(self) -> int:
        """Of the last event that was taken."""
        return self._number

    def _listen(self, after: int) -> None:
        try:
            self._heard.extend(self._client.events(after))
        except (Busy, Refused) as error:
            self._heard.append(Event("events-not-told", str(error), number=after, at=time.time()))
        except (ControlError, ValueError):
            pass  # it went away, or was closed here: whoever asks for the fleet notices, too


def spent_in_words(view: FleetView) -> str:
    """What the provider's nodes have taken."""
    cost = f", which cost {view.cost:.2f}" if view.cost else ""
    return f"{view.node_hours:.2f} node hours so far{cost}"


def job_row(job: JobView) -> dict[str, Any]:
    """A job for a program."""
    return {
        "job": job.spec.name,
        "state": job.state.value,
        "island": job.island or None,
        "step": job.progress.step,
        "of": job.spec.steps,
        "committed": job.checkpoint.step if job.checkpoint else 0,
        "leases": job.epoch,
        "lease left s": round(job.lease_left_s, 1) if job.state is JobState.LEASED else None,
        "failures": job.failures,
        "losses": job.losses,
        "preemptions": job.preemptions,
        "why": job.reason,
    }


def island_row(island: IslandView) -> dict[str, Any]:
    """An island for a program."""
    return {
        "island": island.name,
        "state": island.state,
        "job": island.job or None,
        "silent for s": round(island.silent_s, 1),
    }


_PASSING = {"lease left s", "silent for s"}  # no change by itself


class Changes:
    """One JSON object on a line for each change of a job or an island, and for each event."""

    def __init__(self) -> None:
        self._stood: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def tell(self, words: str) -> None:
        """See :class:`orchestrator.watch.Watch`."""
        _print({"note": words})

    def happened(self, event: Event) -> None:
        """See :class:`Sight`."""
        _print({"event": {name: getattr(event, name) for name in Event.__slots__}})

    def show(self, view: FleetView) -> None:
        """See :class:`orchestrator.watch.Watch`."""
        for job in view.jobs:
            self._news("job", job_row(job))
        for island in view.islands:
            self._news("island", island_row(island))

    def _news(self, what: str, row: dict[str, Any]) -> None:
        lasting = {name: value for name, value in row.items() if name not in _PASSING}
        if self._stood.get(f"{what} {row[what]}") != lasting:
            self._stood[f"{what} {row[what]}"] = lasting
            _print({what: row})


class EventLines(Lines):
    """For a file or a pipe: a line whenever a job stands differently; events say the same."""

    def happened(self, event: Event) -> None:
        """See :class:`Sight`."""


class Overview:
    """Tables that are drawn anew in place, with the latest events below."""

    def __init__(self, title: str, pace: Pace) -> None:
        from rich.console import Console  # noqa: PLC0415 - only where a person looks
        from rich.live import Live  # noqa: PLC0415

        self._title = title
        self._pace = pace
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._live = Live(console=Console(stderr=True), refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tell(self, words: str) -> None:
        """See :class:`orchestrator.watch.Watch`."""
        self._live.console.print(words, highlight=False, markup=False)

    def happened(self, event: Event) -> None:
        """See :class:`Sight`."""
        self._events.append(event)

    def show(self, view: FleetView) -> None:
        """See :class:`orchestrator.watch.Watch`."""
        from rich.console import Group  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        leases = {job.spec.name: job.lease_left_s for job in view.jobs}
        jobs = [
            row | {"lease": f"{leases[row['job']]:.0f} s" if row["state"] == "training" else None}
            for row in rows(view, self._pace)
        ]
        islands = [island_row(each) for each in view.islands if each.state != "gone"]
        drains = "; the fleet drains" if view.draining else ""
        parts = [_table(jobs, self._title), Text(f"{spent_in_words(view)}{drains}\n", "dim")]
        if islands:
            parts.append(_table(islands, "islands"))
        self._live.update(Group(*parts, *(_line(event) for event in self._events)))


def sight_of(title: str, pace: Pace, *, as_json: bool) -> Sight:
    """What fits who looks: a program, a person at a terminal, or a file."""
    if as_json:
        return Changes()
    return Overview(title, pace) if sys.stderr.isatty() else EventLines(pace.clock)


def _print(tree: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(tree)}\n")
    sys.stdout.flush()


def _table(shown: list[dict[str, Any]], title: str) -> Any:
    from rich import box  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(
        title=escape(title), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD
    )
    for name in shown[0] if shown else ("nothing yet",):
        words = name in {"job", "state", "island"}
        table.add_column(name, justify="left" if words else "right")
    for row in shown:
        table.add_row(*(escape(cell(value)) for value in row.values()))
    return table


def _line(event: Event) -> Any:
    from rich.text import Text  # noqa: PLC0415

    when = time.strftime("%H:%M:%S", time.localtime(event.at))
    whom = " ".join(part for part in (event.job, event.island) if part)
    line = Text(f"{when}  ", "dim", no_wrap=True, overflow="ellipsis")
    return line.append(event.kind, "bold").append(f" {whom}: {event.reason}", "default")
