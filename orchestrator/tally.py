"""What happened since an orchestrator serves, counted for those who only look on."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field

from atoll.types import Event

# What takes a job from its island, and the name that it goes under.
SETBACKS = {
    "attempt-failed": "failure",
    "job-crash-loop": "failure",
    "checkpoint-doubted": "damage",
    "island-lost": "silence",
    "island-gone": "death",
    "island-preempted": "preemption",
    "trainer-stuck": "standstill",
}


@dataclass(slots=True)
class Tally:
    """Counts that begin at 0 with each orchestrator.

    Attributes:
        since: time of day at which it began, seconds since the Unix epoch.
        kinds: events, by kind.
        setbacks: leases that ended before their time, by the cause.
        recoveries: leases granted to jobs that were set back, by the cause.
        safe_at: time of day since which work is at risk, by job: of its last checkpoint, or lease.
    """

    since: float
    kinds: Counter[str] = field(default_factory=Counter)
    setbacks: Counter[str] = field(default_factory=Counter)
    recoveries: Counter[str] = field(default_factory=Counter)
    safe_at: dict[str, float] = field(default_factory=dict)
    _set_back: dict[str, str] = field(default_factory=dict)  # cause, by job that waits for a lease

    def note(self, event: Event, at: float) -> None:
        """Count an event of a time of day."""
        self.kinds[event.kind] += 1
        if event.kind in {"checkpoint-committed", "lease-granted"}:
            self.safe_at[event.job] = at
        if event.kind == "lease-granted" and event.job in self._set_back:
            self.recoveries[self._set_back.pop(event.job)] += 1
        elif event.kind in SETBACKS and event.job and event.job not in self._set_back:
            # A trainer that stood still is killed, and then reported as one that failed.
            self.setbacks[SETBACKS[event.kind]] += 1
            self._set_back[event.job] = SETBACKS[event.kind]

    def copy(self) -> Tally:
        """One that changes no more."""
        return copy.deepcopy(self)
