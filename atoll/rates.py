"""How often one caller may call: a bucket of calls for each, refilled steadily."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from atoll.clock import Clock

_MAX_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    calls: float
    at: float


class Rates:
    """Counts the calls of each caller."""

    def __init__(self, per_s: float, burst: float, clock: Clock) -> None:
        """Allow everybody so many calls a second, and so many at once."""
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, caller: str) -> float:
        """Count a call.

        Returns:
            0 if it may go on; else the seconds until one may, and it does not count.
        """
        now = self._clock.monotonic()
        with self._lock:
            if caller not in self._buckets and len(self._buckets) >= _MAX_BUCKETS:
                self._forget(now)
            bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
            bucket.calls = self._filled(bucket, now)
            bucket.at = now
            if bucket.calls < 1:
                return (1 - bucket.calls) / self._per_s
            bucket.calls -= 1
            return 0.0

    def _filled(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst, bucket.calls + (now - bucket.at) * self._per_s)

    def _forget(self, now: float) -> None:
        """Those whose bucket is full again are like those who never called."""
        self._buckets = {
            caller: bucket
            for caller, bucket in self._buckets.items()
            if self._filled(bucket, now) < self._burst
        }
