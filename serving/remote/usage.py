"""How many servers the rows of each expert keep busy, and how many would be well.

The router decides who is asked: an expert that it likes has more rows than others, and is where the
next replica is worth most.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from atoll.clock import Clock
from serving.engine.tick import Came, Left, Tick, Watch
from serving.remote.replica import Replica

_WINDOW_S = 60.0
_WELL = 0.6  # of its time, that a server may be busy: beyond, rows wait ever longer


@dataclass(frozen=True, slots=True)
class Use:
    """Of one expert, lately.

    Attributes:
        expert: its number.
        servers: that may be asked about it.
        checkpoints: how many of them have which, by its digest.
        rows_per_s: that it was asked about, over the last minute, those in vain with them.
        busy: servers that these rows take all the time of; nan where none was measured.
        wanted: servers of its own with which each is busy for 60% of its time at most; one at
            least. A server of several experts is one for each of them, and has less time.
    """

    expert: int
    servers: int
    checkpoints: Mapping[str, int]
    rows_per_s: float
    busy: float
    wanted: int


class Usage:
    """Of all experts of a gateway."""

    def __init__(
        self, num_experts: int, replicas: Callable[[], Sequence[Replica]], clock: Clock
    ) -> None:
        """Nothing was asked yet.

        Args:
            num_experts: K.
            replicas: servers there are now.
            clock: for rates.
        """
        self._num_experts, self._replicas, self._clock = num_experts, replicas, clock
        self._guard = threading.Lock()
        self._asked: deque[tuple[int, list[int]]] = deque()  # in each second of some rows
        self._began_at = clock.monotonic()

    def beside(self, watch: Watch) -> Watch:
        """What hears of ticks for both: the other one, and this."""

        def hear(told: Tick | Came | Left) -> None:
            watch(told)
            if isinstance(told, Tick):
                self.hear(told.rows)
                self.hear(told.unused)

        return hear

    def hear(self, rows: Sequence[int]) -> None:
        """Rows that each of the K experts was asked about just now."""
        if any(rows):
            second = math.floor(self._clock.monotonic())
            with self._guard:
                if not self._asked or self._asked[-1][0] != second:
                    self._asked.append((second, [0] * self._num_experts))
                asked = self._asked[-1][1]
                for expert, num in enumerate(rows):
                    asked[expert] += num
                self._forget()

    def table(self) -> list[Use]:
        """Of each expert, in their order."""
        with self._guard:
            self._forget()
            asked = [sum(rows[k] for _, rows in self._asked) for k in range(self._num_experts)]
        passed_s = min(max(self._clock.monotonic() - self._began_at, 1.0), _WINDOW_S)
        replicas = [each for each in self._replicas() if each.is_open]
        return [self._use(k, num / passed_s, replicas) for k, num in enumerate(asked)]

    def _use(self, expert: int, rate: float, replicas: Sequence[Replica]) -> Use:
        mine = [each for each in replicas if expert in each.experts]
        speeds = [each.rows_per_s for each in mine if each.rows_per_s > 0]
        busy = rate / (sum(speeds) / len(speeds)) if speeds else math.nan
        wanted = max(1, math.ceil(busy / _WELL)) if speeds else 1
        checkpoints = Counter(each.experts[expert] for each in mine)
        return Use(expert, len(mine), checkpoints, rate, busy, wanted)

    def _forget(self) -> None:
        since = self._clock.monotonic() - _WINDOW_S
        while self._asked and self._asked[0][0] < since:
            self._asked.popleft()
