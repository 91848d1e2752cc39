"""One island, as its simulator sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atoll.types import Lease
from orchestrator.simulator.faults import Fate, Fault
from orchestrator.simulator.pace import Pace

_POLL_S = 1.0  # an idle agent asks again after so long, says the fleet


@dataclass(slots=True, eq=False)
class Isle:
    """One island: a node with an agent on it, from being asked for to its end.

    Attributes:
        up_at: its agent's first word; NaN before.
        fault: what befalls it next.
        lease: what it works under.
        leased_at: since when; its heartbeats count from here.
        pace: how its trainer goes on.
        heard_at: when it was last heard by the fleet.
        silent: whether it is cut off.
        idle_since: when it last asked in vain; NaN while it does not wait for work.
        dead: whether the node is gone.
    """

    name: str
    number: int
    fate: Fate
    zone: int | None
    up_at: float = math.nan
    fault: Fault | None = None
    lease: Lease | None = None
    leased_at: float = 0.0
    pace: Pace | None = None
    heard_at: float = 0.0
    silent: bool = False
    idle_since: float = math.nan
    dead: bool = False

    def next_poll(self, now: float) -> float:
        """When it asks again after a time, while it is idle."""
        polls = math.floor(round((now - self.idle_since) / _POLL_S, 6))
        return self.idle_since + (polls + 1) * _POLL_S

    def commits_since(self, before: float, now: float) -> bool:
        """Whether it has published a checkpoint between, queued or not."""
        pace = self.pace
        if pace is None or now < pace.first_committed_at or self.silent or self.dead:
            return False
        num = pace.num_committed(now)
        return num > 0 and pace.committed_at(num) > before
