"""What several tests play with in place of the real thing."""

from __future__ import annotations

from dataclasses import dataclass

BEGAN_AT = 1.7e9  # by the wall, when the hands stood at zero


@dataclass
class ManualClock:
    """Time that passes when the test says so."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return BEGAN_AT + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
