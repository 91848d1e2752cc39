"""The loss of each job as heartbeats tell it, for people who look on."""

from __future__ import annotations

import math
import threading

from atoll.types import Progress

_MOST_POINTS = 400

Point = tuple[int, float]  # step, loss


class Curves:
    """Points by job, in the memory of one orchestrator; the whole curve is in the checkpoints."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: dict[str, list[Point]] = {}

    def note(self, job: str, progress: Progress) -> None:
        """Take a point, if it is news. A job that goes back loses the points beyond."""
        if not math.isfinite(progress.loss):
            return
        with self._lock:
            points = self._points.setdefault(job, [])
            while points and points[-1][0] >= progress.step:
                points.pop()
            points.append((progress.step, progress.loss))
            if len(points) > _MOST_POINTS:
                del points[1:-1:2]  # every other one, and both ends stay

    def all(self) -> dict[str, list[Point]]:
        """A copy, by name of the job."""
        with self._lock:
            return {job: list(points) for job, points in self._points.items()}
