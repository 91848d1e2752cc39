"""Memory that runs out: batches become smaller, and grow again once there is room."""

from __future__ import annotations

import torch

from atoll.clock import Clock

_LEAST = 2  # a guided image takes two rows
_CALM_S = 60.0  # without a shortage, after which twice as many rows are tried


class BatchRows:
    """How many rows a batch may have."""

    def __init__(self, most: int, clock: Clock) -> None:
        """As many as there may be.

        Args:
            most: rows, at least 2.
            clock: tells when to try more again.
        """
        self._most, self._clock = most, clock
        self._rows, self._changed_at = most, clock.monotonic()

    @property
    def most(self) -> int:
        """Rows of the next batch, at most."""
        now = self._clock.monotonic()
        if self.is_short and now - self._changed_at > _CALM_S:
            self._rows, self._changed_at = min(2 * self._rows, self._most), now
        return self._rows

    @property
    def is_short(self) -> bool:
        """Whether batches are smaller than they might be."""
        return self._rows < self._most

    def halve(self) -> bool:
        """Make do with half; False where there is no less."""
        self._changed_at = self._clock.monotonic()
        before, self._rows = self._rows, max(self._rows // 2, _LEAST)
        return self._rows < before


def is_shortage(error: Exception) -> bool:
    """Whether memory ran out, of the device or of this machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
