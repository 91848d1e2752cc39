"""The patience of an agent with its training processes."""

from __future__ import annotations

import math
from pathlib import Path

from atoll.beats import EVERY_S, Beat, read_beats
from atoll.clock import Clock
from cluster.hangs import Seen, hang

_MOST_S = 2 * EVERY_S  # that count from one look to the next: the agent may have been frozen itself


class Watch:
    """Follows the beats of one trainer.

    Args:
        work_dir: of the trainer.
        hang_s: time for which nothing may move.
        clock: for patience.
    """

    def __init__(self, work_dir: Path, hang_s: float, clock: Clock) -> None:
        self._work_dir, self._hang_s, self._clock = work_dir, hang_s, clock
        self._looked_at = -math.inf
        self._marks: dict[int, int] = {}
        self._seen: dict[int, Seen] = {}

    def look(self) -> str:
        """Which process hangs, in words; "" if none does."""
        passed_s = self._clock.monotonic() - self._looked_at
        if passed_s < EVERY_S:
            return ""
        self._looked_at = self._clock.monotonic()
        for beat, mark in read_beats(self._work_dir):
            self._note(beat, mark, min(passed_s, _MOST_S))
        return hang(list(self._seen.values()), self._hang_s)

    def _note(self, beat: Beat, mark: int, passed_s: float) -> None:
        rank, before = beat.rank, self._seen.get(beat.rank)
        beats = before is None or mark != self._marks[rank]
        moves = before is None or _stand(beat) != _stand(before.beat)
        silent_s = 0.0 if before is None or beats else before.silent_s + passed_s
        still_s = 0.0 if before is None or moves else before.still_s + passed_s
        self._marks[rank], self._seen[rank] = mark, Seen(beat, silent_s, still_s)


def _stand(beat: Beat) -> tuple[object, ...]:
    """What changes as a process gets on; the line it is at does, too, where it runs in circles."""
    return beat.step, beat.phase, beat.entered, beat.inside
