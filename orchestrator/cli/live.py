"""Showing a fleet while it works: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
from typing import Any, Protocol, Self

from atoll.clock import Clock, SystemClock
from atoll.command import cell, say
from atoll.types import JobState
from atoll.views import FleetView, JobView
from orchestrator.cli.in_place import InPlace, table_of

_LINE_S = 10.0
_IF_KNOWN = ("held out", "MFU")
_HALTED = {JobState.WAITING, JobState.FAILED, JobState.PAUSED, JobState.CANCELLED}


class Watch(Protocol):
    """Shows a fleet, between entering and leaving it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, view: FleetView) -> None:
        """Show the fleet as it is now."""
        ...

    def tell(self, words: str) -> None:
        """Tell something beside it."""
        ...


def watch_on_stderr(title: str) -> Watch:
    """The watch that fits where standard error goes."""
    return LiveTable(title, SystemClock()) if sys.stderr.isatty() else Lines(SystemClock())


class Pace:
    """How fast jobs advance, from what was seen of them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}  # first step under each lease

    def seconds_left(self, job: JobView) -> float | None:
        """Until its last step at the pace of its lease so far; None while nothing is known."""
        if job.state is not JobState.LEASED:
            return None
        now, step, lease = self.clock.monotonic(), job.progress.step, (job.spec.name, job.epoch)
        began, first = self._seen.get(lease, (now, step))
        if step <= first:
            self._seen[lease] = (now, step)  # a trainer that still starts says nothing of its pace
            return None
        if now <= began:
            return None
        return (job.spec.steps - step) * (now - began) / (step - first)


def rows(view: FleetView, pace: Pace) -> list[dict[str, Any]]:
    """A row for each job, and one for each island that waits for work."""
    idle = [island for island in view.islands if island.state == "idle"]
    made = [_job_row(job, pace) for job in view.jobs] + [
        _row("–", island.state, island.name) for island in idle
    ]
    # A table is read at a glance: what no trainer knows has no column.
    unknown = {name for name in _IF_KNOWN if all(row[name] is None for row in made)}
    return [{name: row[name] for name in row if name not in unknown} for row in made]


class Standing:
    """Remembers how jobs stood, to tell what is new."""

    def __init__(self) -> None:
        self._stood: dict[str, tuple[JobState, str]] = {}

    def news(self, view: FleetView) -> list[JobView]:
        """The jobs that stand differently from the last time, or for another reason."""
        stands = {job.spec.name: (job.state, job.reason) for job in view.jobs}
        before, self._stood = self._stood, stands
        return [job for job in view.jobs if before.get(job.spec.name) != stands[job.spec.name]]


class AtOnce:
    """Something that is shown as it comes, so that entering and leaving it does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class Lines(AtOnce):
    """A line whenever a job stands differently, and one with all steps now and then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._standing = Standing()
        self._next_at = clock.monotonic() + _LINE_S

    def tell(self, words: str) -> None:
        """See :class:`Watch`."""
        say(words)

    def show(self, view: FleetView) -> None:
        """See :class:`Watch`."""
        for job in self._standing.news(view):
            say(f"{job.spec.name}: {job.state}, {job.reason}")
        working = [_brief(job) for job in view.jobs if job.state is JobState.LEASED]
        if working and self._clock.monotonic() >= self._next_at:
            say(" · ".join(working))
            self._next_at = self._clock.monotonic() + _LINE_S


class LiveTable(InPlace):
    """For a terminal: a table of the jobs; what went wrong is told above it."""

    def __init__(self, title: str, clock: Clock) -> None:
        super().__init__()
        self._title = title
        self._pace = Pace(clock)
        self._standing = Standing()

    def show(self, view: FleetView) -> None:
        """See :class:`Watch`."""
        for job in self._standing.news(view):
            if job.epoch and job.state in _HALTED:
                self.tell(f"{job.spec.name}: {job.reason}")
        self.draw(table_of(rows(view, self._pace), self._title))


def _job_row(job: JobView, pace: Pace) -> dict[str, Any]:
    left_s = pace.seconds_left(job)
    state = "training" if job.state is JobState.LEASED else job.state.value
    if job.state is JobState.LEASED and job.progress.fetched_bytes:
        state = f"fetching, {job.progress.fetched_bytes / 1e9:.1f} GB"
    return _row(
        job.spec.name,
        state,
        job.island or None,
        step=f"{job.progress.step:,} / {job.spec.steps:,}",
        loss=job.progress.loss if job.progress.loss == job.progress.loss else None,
        held_out=job.progress.vitals.held_out,
        rate=job.progress.samples_per_s or None,
        mfu=job.progress.vitals.mfu,
        left=None if left_s is None else f"{left_s // 60:.0f}:{left_s % 60:02.0f}",
        leases=job.epoch,
    )


def _row(
    job: str,
    state: str,
    island: str | None,
    *,
    step: str | None = None,
    loss: float | None = None,
    held_out: float | None = None,
    rate: float | None = None,
    mfu: float | None = None,
    left: str | None = None,
    leases: int | None = None,
) -> dict[str, Any]:
    return {
        "job": job,
        "state": state,
        "island": island,
        "step": step,
        "loss": loss,
        "held out": held_out,
        "samples/s": rate,
        "MFU": None if mfu is None else f"{mfu:.1%}",
        "ETA": left,
        "leases": leases,
    }


def _brief(job: JobView) -> str:
    loss = job.progress.loss
    told = f" loss {cell(loss)}" if math.isfinite(loss) else ""  # none before the first is measured
    return f"{job.spec.name} {job.progress.step:,}/{job.spec.steps:,}{told}"
