"""All jobs that are known: those that are open, and the results that are kept for a while."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from atoll.clock import Clock
from serving.service.job import Job


@dataclass(frozen=True, slots=True)
class _Result:
    name: str
    kept_until: float
    num_bytes: int


class Ledger:
    """Not for several threads at once. Counts are kept up to date, and no job is looked for."""

    def __init__(self, keep_s: float, keep_bytes: float, clock: Clock) -> None:
        """No job is known yet.

        Args:
            keep_s: for so long results are kept.
            keep_bytes: that they may take; the newest is kept whatever it takes.
            clock: for that.
        """
        self._keep_s, self._keep_bytes, self._clock = keep_s, keep_bytes, clock
        self._jobs: dict[str, Job] = {}
        self._open: dict[str, Job] = {}  # the oldest first
        self._num_images = 0  # of open jobs
        self._num_images_of: Counter[str] = Counter()  # likewise, by owner
        self._results: deque[_Result] = deque()  # the oldest first
        self._num_bytes = 0

    @property
    def open(self) -> list[Job]:
        """Jobs that are not over, the oldest first."""
        return list(self._open.values())

    @property
    def num_images(self) -> int:
        """Of jobs that are not over."""
        return self._num_images

    def num_images_of(self, owner: str) -> int:
        """Likewise, of one owner's."""
        return self._num_images_of[owner]

    def find(self, name: str) -> Job | None:
        """A job that is open, or whose result is kept."""
        self.forget_old()
        return self._jobs.get(name)

    def add(self, job: Job) -> None:
        """A job is accepted."""
        self._jobs[job.name] = self._open[job.name] = job
        self._count(job.owner, len(job.recipes))

    def end(self, job: Job) -> None:
        """A job is over: keep its result."""
        del self._open[job.name]
        self._count(job.owner, -len(job.recipes))
        result = _Result(job.name, self._clock.monotonic() + self._keep_s, job.num_bytes)
        self._results.append(result)
        self._num_bytes += result.num_bytes
        self.forget_old()

    def forget_old(self) -> None:
        """Forget results that are too old, and the oldest of those that take too much."""
        now = self._clock.monotonic()
        while self._results and (self._results[0].kept_until < now or self._is_too_much):
            oldest = self._results.popleft()
            del self._jobs[oldest.name]
            self._num_bytes -= oldest.num_bytes

    def _count(self, owner: str, more: int) -> None:
        self._num_images += more
        self._num_images_of[owner] += more
        if not self._num_images_of[owner]:
            del self._num_images_of[owner]

    @property
    def _is_too_much(self) -> bool:
        return self._num_bytes > self._keep_bytes and len(self._results) > 1
