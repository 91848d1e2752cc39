"""The traces that operators wait for at this moment; in memory only.

As with logs, islands only ever call: the answer to a heartbeat says that a trace is wanted, and the
island tells where it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.errors import Refused
from atoll.traces import Trace, TraceWish, new_wish
from atoll.types import JobState
from orchestrator.fleet.state import Fleet

_LOOK_S = 0.5


class TraceDesk:
    """One wish at most for each job, from who asks for it to who answers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wishes: dict[str, TraceWish] = {}  # by job
        self._made: dict[str, Trace] = {}  # by job

    @contextmanager
    def asking(self, job: str, steps: int) -> Iterator[TraceWish]:
        """Inside, a trace of a job is wanted. Raises: Refused, one is already."""
        wish = new_wish(steps)
        with self._changed:
            if job in self._wishes:
                raise Refused(f"{job} is being traced already; ask again when that trace is made")
            self._wishes[job] = wish
        try:
            yield wish
        finally:
            with self._changed:
                del self._wishes[job]
                self._made.pop(job, None)

    def wanted(self, job: str) -> TraceWish | None:
        """What is wanted of a job's trainer."""
        with self._changed:
            return None if job in self._made else self._wishes.get(job)

    def take(self, job: str, trace: Trace) -> None:
        """Hand a trace to who waits for it; one whose asker has left is nobody's."""
        with self._changed:
            wish = self._wishes.get(job)
            if wish is not None and wish.id == trace.wish:
                self._made[job] = trace
                self._changed.notify_all()

    def wait(self, job: str, seconds: float) -> Trace | None:
        """The trace, as soon as it is made; None if it is not after so long."""
        with self._changed:
            self._changed.wait_for(lambda: job in self._made, seconds)
            return self._made.get(job)


def traced(
    job: str, steps: int, desk: TraceDesk, fleet: Callable[[], Fleet]
) -> Iterator[Trace | None]:
    """What becomes of a wish; None as long as nothing has.

    Args:
        job: whose trainer is to be traced.
        steps: how many.
        desk: where wish and answer meet.
        fleet: the state at a moment.

    Raises:
        Refused: nobody works on the job, not any more, or it is being traced already.
    """
    lease = _lease_of(fleet(), job)
    with desk.asking(job, steps):
        while (trace := desk.wait(job, _LOOK_S)) is None:
            yield None
            if _lease_of(fleet(), job) != lease:
                raise Refused(f"{job} went to another island before its trace was made; ask again")
        yield trace


def _lease_of(fleet: Fleet, name: str) -> tuple[str, int]:
    """Who works on a job, under which epoch. Raises: Refused."""
    job = fleet.jobs.get(name)
    if job is None:
        raise Refused(f"no job is called {name!r}; there is {', '.join(fleet.jobs) or 'none'}")
    if job.state is not JobState.LEASED:
        raise Refused(
            f"{name} is {job.state} ({job.reason}); only a job that is worked on is traced"
        )
    return job.island, job.epoch
