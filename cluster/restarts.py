"""How an island starts its trainer anew by itself, before the orchestrator has to act."""

from __future__ import annotations

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class Restarts:
    """Counts those under one lease.

    Args:
        most: in a row without a checkpoint.

    Attributes:
        num: of all so far.
        in_a_row: since the last checkpoint.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.num = self.in_a_row = 0

    @property
    def may(self) -> bool:
        """Whether the trainer may be started once more."""
        return self.in_a_row < self._most

    def begin(self) -> float:
        """Count one; the pause before it, seconds."""
        pause_s = min(_FIRST_PAUSE_S * 2.0**self.in_a_row, _LONGEST_PAUSE_S)
        self.num += 1
        self.in_a_row += 1
        return pause_s

    def forgive(self) -> None:
        """A checkpoint was made: what broke before counts no more."""
        self.in_a_row = 0

    @property
    def words(self) -> str:
        """What has been tried, for who has to act now; "" for nothing."""
        if not self.in_a_row:
            return ""
        times = "once" if self.in_a_row == 1 else f"{self.in_a_row} times"
        return f"; its island had started it anew {times}"
