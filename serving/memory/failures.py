"""Experts that could not be brought into memory: some are tried again, some are lost."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from atoll.clock import Clock
from atoll.errors import CheckpointDamaged, CheckpointMismatch

_MOST_TRIES = 5  # in a row, for which images wait
_FIRST_PAUSE_S = 0.5  # doubles with each
_LOST_S = 30.0  # after which one more try is made
_FOR_GOOD = (CheckpointDamaged, CheckpointMismatch)  # bytes that no other try makes good


@dataclass(frozen=True, slots=True)
class _Failure:
    num_tries: int
    again_at: float
    is_lost: bool


class Failures:
    """Whoever waits for an expert waits for some tries, and is then refused for a while."""

    def __init__(self, clock: Clock) -> None:
        """Nothing has failed.

        Args:
            clock: for pauses.
        """
        self._clock = clock
        self._failures: dict[str, _Failure] = {}

    def note(self, key: str, error: Exception) -> None:
        """A try has failed."""
        num_tries = self._failures[key].num_tries + 1 if key in self._failures else 1
        is_lost, pause_s = num_tries >= _MOST_TRIES, _FIRST_PAUSE_S * 2 ** (num_tries - 1)
        if is_lost:
            pause_s = _LOST_S
        if isinstance(error, _FOR_GOOD):
            is_lost, pause_s = True, float("inf")
        again_at = self._clock.monotonic() + pause_s
        self._failures[key] = _Failure(num_tries, again_at, is_lost)

    def forget(self, key: str) -> None:
        """A try has succeeded."""
        self._failures.pop(key, None)

    def keep_only(self, keys: Collection[str]) -> None:
        """All others are out of use."""
        self._failures = {key: it for key, it in self._failures.items() if key in keys}

    def may_try(self, key: str) -> bool:
        """Whether its pause is over."""
        return self.pause_s(key) <= 0

    def pause_s(self, key: str) -> float:
        """Until it may be tried again; 0 or less if it may."""
        failure = self._failures.get(key)
        return 0.0 if failure is None else failure.again_at - self._clock.monotonic()

    @property
    def lost(self) -> Collection[str]:
        """Those that nobody is to wait for now."""
        return {key for key, it in self._failures.items() if it.is_lost and not self.may_try(key)}
