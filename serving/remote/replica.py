"""A server as a gateway knows it: whom it speaks for, how busy it is, whether it is to be asked.

A circuit breaker: after a failure nobody asks it for a while, twice as long after every further
one, until it has said again who it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.clock import Clock

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.25, 30.0
_GONE_PAUSE_S = 5.0  # at most, where nobody answers: to ask once more costs little
_REMEMBERED = 0.2  # of the newest answer, in what is usual
_SPREADS = 4.0  # deviations beyond the usual, from which an answer is slow, as in TCP (RFC 6298)
_LEAST_S = 0.05  # beyond the usual, likewise: schedulers of machines are no clocks


@dataclass(slots=True, eq=False)
class Replica:
    """One server.

    Attributes:
        address: ``host:port``.
        clock: for pauses.
        experts: that it speaks for, with the digests of their checkpoints; empty before it has
            said so.
        num_rows: that it was asked about from here and has not answered.
        num_waiting: rows of all callers that it has, as it said last.
        rows_per_s: that it evaluates, lately; nan before the first.
        usual_s: from question to answer, but for what the rows have waited there, lately; nan
            before the first.
        spread_s: mean deviation from that.
        failures: in a row.
        ask_at: when it may be asked again who it is, by the clock.
        why: it failed last, in words.
    """

    address: str
    clock: Clock
    experts: Mapping[int, str] = field(default_factory=dict)
    num_rows: int = 0
    num_waiting: int = 0
    rows_per_s: float = math.nan
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
    def expected_s(self) -> float:
        """Until it answers about rows that it is asked about now; 0 where nothing is known."""
        if math.isnan(self.usual_s):
            return 0.0
        return self.usual_s + max(self.num_rows, self.num_waiting) / self.rows_per_s

    @property
    def load(self) -> tuple[float, int]:
        """The less, the better it is to ask it."""
        return self.expected_s, self.num_rows

    @property
    def slow_s(self) -> float:
        """After which an answer to what is asked now is overdue; inf where nothing is known."""
        if math.isnan(self.usual_s):
            return math.inf
        return self.expected_s + max(_SPREADS * self.spread_s, _LEAST_S)

    def further_s(self, num_rows: int) -> float:
        """That it takes for rows it evaluates one after the other for one who asks."""
        return num_rows / self.rows_per_s if num_rows and self.rows_per_s > 0 else 0.0

    def described(self, experts: Mapping[int, str], num_waiting: int) -> None:
        """It has said whom it speaks for."""
        self.experts, self.num_waiting, self.failures, self.why = experts, num_waiting, 0, ""

    def answered(self, seconds: float, rows_per_s: float, num_waiting: int) -> None:
        """It has evaluated rows.

        Args:
            seconds: see ``usual_s``.
            rows_per_s: of their batch.
            num_waiting: as it says.
        """
        self.num_waiting = num_waiting
        self._note(seconds)
        if math.isnan(self.rows_per_s):
            self.rows_per_s = rows_per_s
        self.rows_per_s += _REMEMBERED * (rows_per_s - self.rows_per_s)

    def overtaken(self, seconds: float) -> None:
        """Another has answered first, that was asked later: it may be slow, or dead."""
        if not math.isnan(self.usual_s):
            self._note(max(seconds, self.usual_s))

    def failed(self, why: str, *, is_gone: bool = False) -> None:
        """It is not to be asked for a while.

        Args:
            why: in words.
            is_gone: whether it does not even say who it is.
        """
        self.failures += 1
        self.why = why
        most_s = _GONE_PAUSE_S if is_gone else _LAST_PAUSE_S
        pause_s = min(_FIRST_PAUSE_S * 2 ** (self.failures - 1), most_s)
        self.ask_at = self.clock.monotonic() + pause_s

    def _note(self, seconds: float) -> None:
        if math.isnan(self.usual_s):
            self.usual_s, self.spread_s = seconds, seconds / 2
        self.spread_s += _REMEMBERED * (abs(seconds - self.usual_s) - self.spread_s)
        self.usual_s += _REMEMBERED * (seconds - self.usual_s)
