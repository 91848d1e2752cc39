"""Who is in memory, who is to come next, and who leaves for that. Decides, and loads nothing.

First comes who is to be there now, the most urgent first; where there is room besides, whom other
images wait for, and then whom they are likely to wait for next. Who leaves is the least recently
used of those that are needed least.

Who was waited for stays until it was called, and some times as long as it took to come, within
bounds and if anybody still waits for it: so loading is not all that happens, and nobody waits for
another expert longer than that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from atoll.clock import Clock
from experts.flow import VelocityField
from serving.engine.shortage import is_shortage
from serving.engine.tick import Left, Watch
from serving.memory.failures import Failures
from serving.memory.source import Source

_NO_GUESS_S = 60.0  # after memory ran out
_STAY = 3.0  # times as long as it took to come
_MOST_STAY_S = 10.0


@dataclass(slots=True, eq=False)
class Demand:
    """What one edition asks of the memory.

    Attributes:
        sources: of all its experts.
        wanted: those to be in memory now, the most urgent first.
        later: others that images wait for, the most urgent first.
        soon: those that they are likely to wait for next, the likeliest first.
    """

    sources: Sequence[Source]
    wanted: Sequence[Source] = ()
    later: Sequence[Source] = ()
    soon: Sequence[Source] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Resident:
    source: Source
    field: VelocityField
    stays_until: float  # on the clock, as long as somebody waits for it


class Holdings:
    """Not for several threads at once."""

    def __init__(self, budget_bytes: float, clock: Clock, watch: Watch) -> None:
        """Nothing is in memory yet.

        Args:
            budget_bytes: that experts in memory may take together.
            clock: for how long they stay, and the pauses before one is tried again.
            watch: is told who leaves.
        """
        self._budget_bytes, self._clock, self._watch = budget_bytes, clock, watch
        self.demands: list[Demand] = []
        self._guesses_from = -math.inf
        self._resident: dict[str, _Resident] = {}  # least recently used first
        self._fresh: set[str] = set()  # came because somebody waited, and not called since
        self._failures = Failures(clock)

    @property
    def fields(self) -> Mapping[str, VelocityField]:
        """The experts in memory, by key."""
        return {key: it.field for key, it in self._resident.items()}

    @property
    def lost(self) -> Collection[str]:
        """Keys of those that cannot be had now."""
        return self._failures.lost

    @property
    def known(self) -> set[str]:
        """Keys of all experts of the editions there are."""
        return {source.key for demand in self.demands for source in demand.sources}

    def dismiss(self, demand: Demand) -> None:
        """An edition is out of use: let go of what is in no other."""
        self.demands.remove(demand)
        self._leave([key for key in self._resident if key not in self.known])
        self._fresh &= _keys(self._wanted)
        self._failures.keep_only(self.known)

    def note_used(self, used: Collection[str]) -> None:
        """Experts have been called; what is asked for has been brought up to date."""
        for key in used:
            if key in self._resident:
                self._resident[key] = self._resident.pop(key)
        self._fresh &= _keys(self._wanted) - set(used)

    def spare(self, needed: Collection[str]) -> None:
        """Memory has run out: let go of all but some, and guess no more for a while."""
        self._guesses_from = self._clock.monotonic() + _NO_GUESS_S
        self._leave([key for key in self._resident if key not in needed])

    def next(self) -> Source | None:
        """Whom to bring in; None for nobody just now."""
        fixed = self._fixed
        for source in self._wanted:
            if self._can_come(source):
                return source if source.num_bytes <= self._room_bytes(fixed) else None
        if self._clock.monotonic() < self._guesses_from:
            return None
        staying = fixed | _keys(self._wanted)
        for others in (self._later, self._soon):
            staying |= _keys(others)  # nobody leaves for an equal
            room_bytes = self._room_bytes(staying)
            able = (it for it in others if self._can_come(it) and it.num_bytes <= room_bytes)
            if guess := next(able, None):
                return guess
        return None

    def pause_s(self) -> float | None:
        """Until somebody may be tried again, or may leave; None where there is nobody."""
        asked = _keys([*self._wanted, *self._later, *self._soon]) - self._resident.keys()
        pauses = [self._failures.pause_s(key) for key in asked]
        now = self._clock.monotonic()
        pauses += [it.stays_until - now for it in self._resident.values()]
        return min((it for it in pauses if 0 < it < math.inf), default=None)

    def make_room(self, source: Source) -> None:
        """Whoever is in the way of the next one leaves."""
        leaving = iter(self._needed_least(self._fixed))
        while source.num_bytes > self._room_bytes(self._resident):
            self._leave([next(leaving)])

    def came(self, source: Source, field: VelocityField, seconds: float) -> bool:
        """One is there.

        Args:
            source: of it.
            field: the expert.
            seconds: that it took.

        Returns:
            Whether it is of use; its edition may have left meanwhile.
        """
        self._failures.forget(source.key)
        if source.key not in self.known:
            return False
        is_wanted = source.key in _keys(self._wanted)
        stay_s = min(_STAY * seconds, _MOST_STAY_S) if is_wanted else 0.0
        stays_until = self._clock.monotonic() + stay_s
        self._resident[source.key] = _Resident(source, field, stays_until)
        if is_wanted:
            self._fresh.add(source.key)
        return True

    def failed(self, source: Source, error: Exception) -> None:
        """One could not be had."""
        self._failures.note(source.key, error)
        if is_shortage(error):
            self._guesses_from = self._clock.monotonic() + _NO_GUESS_S
            if source.key in _keys(self._wanted):  # nobody leaves for a guess
                self._leave(self._needed_least(self._fresh)[:1])

    def _can_come(self, source: Source) -> bool:
        return source.key not in self._resident and self._failures.may_try(source.key)

    def _leave(self, keys: Collection[str]) -> None:
        for key in keys:
            self._fresh.discard(key)
            self._watch(Left(self._resident.pop(key).source.expert))

    def _needed_least(self, staying: Collection[str]) -> list[str]:
        """Who leaves first, and so on; of those that are needed alike, the least recently used."""
        asked = [_keys(self._wanted), _keys(self._later), _keys(self._soon)]
        able = [key for key in self._resident if key not in staying]
        return sorted(able, key=lambda key: [key in keys for keys in asked])

    def _room_bytes(self, staying: Collection[str]) -> float:
        """What is left of the budget by those who stay."""
        taken = sum(it.source.num_bytes for key, it in self._resident.items() if key in staying)
        return self._budget_bytes - taken

    @property
    def _fixed(self) -> set[str]:
        """Experts that nobody can drive away just now."""
        now = self._clock.monotonic()
        asked = _keys([*self._wanted, *self._later])
        staying = {key for key, it in self._resident.items() if now < it.stays_until}
        return self._fresh | (staying & asked)

    @property
    def _wanted(self) -> list[Source]:
        return _in_turn([demand.wanted for demand in self.demands])

    @property
    def _later(self) -> list[Source]:
        return _in_turn([demand.later for demand in self.demands])

    @property
    def _soon(self) -> list[Source]:
        return _in_turn([demand.soon for demand in self.demands])


def _in_turn(lists: Sequence[Sequence[Source]]) -> list[Source]:
    """The first of each list, then the second of each, and so on."""
    turns = itertools.zip_longest(*lists)
    return [source for turn in turns for source in turn if source is not None]


def _keys(sources: Sequence[Source]) -> set[str]:
    return {source.key for source in sources}
