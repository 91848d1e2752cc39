"""A server as a gateway knows it: whom it speaks for, how busy it is, whether it is to be asked.

A circuit breaker: after a failure nobody asks it for a while, twice as long after every further
one, until it answers again when it is asked who it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.clock import Clock

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.25, 30.0
_REMEMBERED = 0.2  # of the newest answer, in what is usual
_SPREADS = 4.0  # deviations beyond the usual, from which an answer is slow, as in TCP (RFC 6298)


@dataclass(slots=True, eq=False)
class Replica:
    """One server.

    Attributes:
        address: ``host:port``.
        clock: for pauses.
        experts: that it speaks for, with the digests of their checkpoints; empty before it has
            said so, and while it is not to be asked.
        num_rows: that it was asked about and has not answered.
        num_waiting: rows of others that it has, as it said last.
        usual_s: from question to answer, lately; nan before the first.
        spread_s: mean deviation from that.
        failures: in a row.
        ask_at: when it may be asked again, by the clock.
        why: it failed last, in words.
    """

    address: str
    clock: Clock
    experts: Mapping[int, str] = field(default_factory=dict)
    num_rows: int = 0
    num_waiting: int = 0
    usual_s: float = math.nan
    spread_s: float = 0.0
    failures: int = 0
    ask_at: float = -math.inf
    why: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it may be asked about rows."""
        return bool(self.experts) and self.failures == 0

    @property
    def may_be_tried(self) -> bool:
        """Whether it is time to ask who it is."""
        return self.clock.monotonic() >= self.ask_at

    @property
    def load(self) -> tuple[float, float]:
        """The less, the sooner an answer is to be expected."""
        usual = 0.0 if math.isnan(self.usual_s) else self.usual_s
        return usual * (1 + self.num_rows + self.num_waiting), float(self.num_rows)

    @property
    def slow_s(self) -> float:
        """After which an answer is overdue; inf where nothing is known."""
        return math.inf if math.isnan(self.usual_s) else self.usual_s + _SPREADS * self.spread_s

    def described(self, experts: Mapping[int, str], num_waiting: int) -> None:
        """It has said whom it speaks for."""
        self.experts, self.num_waiting, self.failures, self.why = experts, num_waiting, 0, ""

    def answered(self, seconds: float, num_waiting: int) -> None:
        """It has evaluated rows."""
        self.num_waiting = num_waiting
        if math.isnan(self.usual_s):
            self.usual_s, self.spread_s = seconds, seconds / 2
            return
        self.spread_s += _REMEMBERED * (abs(seconds - self.usual_s) - self.spread_s)
        self.usual_s += _REMEMBERED * (seconds - self.usual_s)

    def failed(self, why: str) -> None:
        """It is not to be asked for a while."""
        self.failures += 1
        self.why = why
        pause_s = min(_FIRST_PAUSE_S * 2 ** (self.failures - 1), _LAST_PAUSE_S)
        self.ask_at = self.clock.monotonic() + pause_s
