"""The jobs of a fleet, and what would otherwise be searched for among all of them.

Everything here follows from the jobs alone and is kept by each change, so that granting a lease and
finding those that have run out cost the same for ten jobs and for ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from immutables import Map

from atoll.types import JobState
from orchestrator.fleet import heap
from orchestrator.fleet.heap import Heap
from orchestrator.fleet.ordered import Ordered

if TYPE_CHECKING:
    from orchestrator.fleet.state import Job


@dataclass(frozen=True, slots=True, eq=False)
class Jobs(Mapping[str, "Job"]):
    """Jobs by name, in order of submission.

    Attributes:
        num_leased: how many an island works on.
        num_open: how many are not over.
        committed: steps committed, all together.
    """

    num_leased: int = 0
    num_open: int = 0
    committed: int = 0
    _jobs: Ordered[Job] = field(default_factory=Ordered)
    _names: Map[int, str] = field(default_factory=Map)  # by place
    _waiting: int = 0  # bit n stands for the job at place n
    _expiries: Heap | None = None  # an entry for each lease, never later than it ends

    def updated(self, jobs: Iterable[Job]) -> Jobs:
        """With some jobs changed or added; of two with one name the later wins."""
        after = self
        for job in jobs:
            after = after._with(job)
        return after

    def waiting(self) -> Iterator[Job]:
        """Those that wait, in order of submission."""
        left = self._waiting
        while left:
            lowest = left & -left
            yield self._jobs[self._names[lowest.bit_length() - 1]]
            left ^= lowest

    def leased(self) -> list[Job]:
        """Those that an island works on."""
        return [job for job in self.values() if job.state is JobState.LEASED]

    def expired(self, now: float) -> list[Job]:
        """Those whose lease has run out, in order of submission."""
        found = {name for _, name, _ in heap.until(self._expiries, now)}
        late = [self._jobs[name] for name in sorted(found, key=self._jobs.place)]
        return [job for job in late if job.state is JobState.LEASED and job.expires_at <= now]

    def looked_through(self, now: float) -> Jobs:
        """The same jobs, once those expired at ``now`` were dealt with."""
        expiries, kept = self._expiries, set()
        while expiries is not None and expiries.first[0] <= now:
            _, name, epoch = expiries.first
            expiries = heap.popped(expiries)
            job = self._jobs[name]
            if job.state is JobState.LEASED and job.epoch == epoch:
                kept.add((job.expires_at, name, epoch))
        if expiries is self._expiries:
            return self
        for entry in sorted(kept):
            expiries = heap.pushed(expiries, entry)
        counts = (self.num_leased, self.num_open, self.committed)
        return Jobs(*counts, self._jobs, self._names, self._waiting, expiries)

    def _with(self, job: Job) -> Jobs:
        name = job.spec.name
        before = self._jobs.get(name)
        jobs, names = self._jobs.updated([(name, job)]), self._names
        place = jobs.place(name)
        if before is None:
            names = names.set(place, name)
        waits, waiting = job.state is JobState.WAITING, self._waiting
        if waits != bool(waiting >> place & 1):
            waiting ^= 1 << place
        is_leased, expiries = job.state is JobState.LEASED, self._expiries
        was_leased = before is not None and before.state is JobState.LEASED
        # A longer lease under the same epoch keeps its entry, which is looked at too early and put
        # back: once a term instead of at each heartbeat.
        if is_leased and not (was_leased and _is_prolonged(before, job)):
            expiries = heap.pushed(expiries, (job.expires_at, name, job.epoch))
        return Jobs(
            self.num_leased + is_leased - was_leased,
            self.num_open + (not job.is_over) - (before is not None and not before.is_over),
            self.committed + job.step - (before.step if before is not None else 0),
            jobs,
            names,
            waiting,
            expiries,
        )

    def __getitem__(self, name: str) -> Job:
        return self._jobs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._jobs

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)


def _is_prolonged(before: Job | None, job: Job) -> bool:
    return before is not None and before.epoch == job.epoch and before.expires_at <= job.expires_at
