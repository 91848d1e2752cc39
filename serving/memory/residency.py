"""Fewer experts in memory than there are: brought in from behind, the least recently used leave.

A thread of its own loads what is to be there now, the most urgent first, and where there is room
for more, what other images wait for, and then what they are likely to wait for next. The engine
takes the experts that are there as they are at its tick, and an expert that leaves meanwhile is
freed after that: for so long one more than the budget allows may be in memory.

Who was waited for stays until it was called, and some times as long as it took to come, if anybody
still waits for it: so loading is not all that happens, and nobody waits for another expert longer
than that.

Editions share one residency: what is of the same checkpoint in both is in memory once.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from atoll.clock import Clock
from atoll.errors import BadInput
from experts.flow import VelocityField
from serving.engine.shortage import is_shortage
from serving.engine.tick import Came, Left, Watch, nobody
from serving.memory.failures import Failures
from serving.memory.host import HostMemory
from serving.memory.source import Source

_log = logging.getLogger(__name__)
_PATIENCE_S = 5.0  # with a store that stalls, at the end
_NO_GUESS_S = 60.0  # after memory ran out
_STAY = 3.0  # times as long as it took to come


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


class Residency:
    """The memory for experts, of one edition or several."""

    def __init__(
        self,
        budget_bytes: float,
        host: HostMemory,
        bell: threading.Event,
        clock: Clock,
        watch: Watch = nobody,
    ) -> None:
        """Nothing is in memory yet.

        Args:
            budget_bytes: that experts in memory may take together.
            host: where weights are kept that have left it.
            bell: is rung when an expert has come, or cannot be had.
            clock: for the pauses before an expert is tried again.
            watch: is told who comes and leaves; it must not call back.
        """
        self._budget_bytes, self._host, self._clock = budget_bytes, host, clock
        self._bell, self._watch = bell, watch
        self._changed = threading.Condition()  # guards what follows
        self._demands: list[Demand] = []
        self._guesses_from = -math.inf
        self._resident: dict[str, _Resident] = {}  # least recently used first
        self._fresh: set[str] = set()  # loaded because somebody waited, and not called since
        self._failures = Failures(clock)
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="residency", daemon=True)
        self._thread.start()

    def admit(self, sources: Sequence[Source]) -> Demand:
        """Serve one more edition; those of its experts that fit come before anybody waits.

        Args:
            sources: of all its experts.

        Raises:
            BadInput: there is no room for the largest of them.
        """
        largest = max(source.num_bytes for source in sources)
        if self._budget_bytes < largest:
            raise BadInput(
                f"serving.memory_gb leaves room for {self._budget_bytes / 2**30:.3g} GiB of "
                f"experts, and one takes {largest / 2**30:.3g}; raise it"
            )
        demand = Demand(sources, soon=sources)
        with self._changed:
            self._demands.append(demand)
            self._changed.notify_all()
        return demand

    def dismiss(self, demand: Demand) -> None:
        """An edition is out of use: let go of what is in no other."""
        with self._changed:
            self._demands.remove(demand)
            self._leave([key for key in self._resident if key not in self._known])
            self._failures.keep_only(self._known)
            self._changed.notify_all()

    @property
    def resident(self) -> Mapping[str, VelocityField]:
        """The experts in memory as of now, by key."""
        with self._changed:
            return {key: it.field for key, it in self._resident.items()}

    @property
    def lost(self) -> Mapping[str, str]:
        """Those that cannot be had now, by key, and why."""
        with self._changed:
            return self._failures.lost

    def tell(
        self,
        demand: Demand,
        used: Collection[str],
        wanted: Sequence[Source],
        later: Sequence[Source],
        soon: Sequence[Source],
    ) -> None:
        """Say what happens to an edition; returns at once.

        Args:
            demand: its.
            used: keys of those that have just been called.
            wanted: see :class:`Demand`.
            later: likewise.
            soon: likewise.
        """
        with self._changed:
            for key in used:
                if key in self._resident:
                    self._resident[key] = self._resident.pop(key)
            demand.wanted, demand.later, demand.soon = wanted, later, soon
            self._fresh &= _keys(self._wanted) - set(used)
            self._changed.notify_all()

    @property
    def is_alive(self) -> bool:
        """Whether it still loads what is waited for."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Load nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE_S)

    def spare(self, needed: Collection[str]) -> None:
        """Memory has run out: let go of all but some, and load none on a guess for a while.

        Args:
            needed: keys of those that stay.
        """
        with self._changed:
            self._guesses_from = self._clock.monotonic() + _NO_GUESS_S
            left = [key for key in self._resident if key not in needed]
            self._leave(left)
        torch.cuda.empty_cache()

    def _work(self) -> None:
        try:
            self._serve()
        except Exception:  # whatever it is, nobody would say so
            _log.exception("experts come into memory no more; start the service anew")

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (chosen := self._next()) is None:
                    self._changed.wait(self._pause_s())
                    self._host.keep_only(self._known)
                if self._stopped:
                    return
                assert chosen is not None
                source, is_wanted = chosen
                self._make_room(source.num_bytes)
            self._bring(source, is_wanted=is_wanted)
            self._bell.set()

    def _next(self) -> tuple[Source, bool] | None:
        """Whom to bring in, and whether anybody waits for it; None for nobody just now."""
        for source in self._wanted:
            if self._can_come(source):
                room_bytes = self._budget_bytes - self._num_bytes(self._fixed)
                return (source, True) if source.num_bytes <= room_bytes else None
        if self._clock.monotonic() < self._guesses_from:
            return None
        asked = _keys(self._wanted)
        for others in (self._later, self._soon):
            asked |= _keys(others)
            # Nobody leaves for an equal.
            room_bytes = self._budget_bytes - self._num_bytes(asked & self._resident.keys())
            able = (it for it in others if self._can_come(it) and it.num_bytes <= room_bytes)
            if guess := next(able, None):
                return guess, False
        return None

    def _can_come(self, source: Source) -> bool:
        return source.key not in self._resident and self._failures.may_try(source.key)

    def _pause_s(self) -> float | None:
        """Until somebody may be tried again, or may leave; None where there is nobody."""
        asked = _keys([*self._wanted, *self._later, *self._soon]) - self._resident.keys()
        pauses = [self._failures.pause_s(key) for key in asked]
        now = self._clock.monotonic()
        pauses += [it.stays_until - now for it in self._resident.values()]
        return min((it for it in pauses if 0 < it < math.inf), default=None)

    def _make_room(self, num_bytes: int) -> None:
        asked = [_keys(self._wanted), _keys(self._later), _keys(self._soon)]
        able = [key for key in self._resident if key not in self._fixed]
        leaving = iter(sorted(able, key=lambda key: [key in keys for keys in asked]))
        while num_bytes + self._num_bytes(self._resident) > self._budget_bytes:
            self._leave([next(leaving)])

    def _leave(self, keys: Collection[str]) -> None:
        for key in keys:
            self._fresh.discard(key)
            self._watch(Left(self._resident.pop(key).source.expert))

    def _num_bytes(self, keys: Collection[str]) -> int:
        return sum(self._resident[key].source.num_bytes for key in keys)

    def _bring(self, source: Source, *, is_wanted: bool) -> None:
        began_at, is_kept = self._clock.monotonic(), self._host.has(source)
        try:
            field = source.build(self._host.on_device(self._host.weights(source)))
        except Exception as error:  # whatever a store or a driver raises
            _log.warning(
                "an expert was not loaded",
                extra={"fields": {"expert": source.expert, "reason": str(error)}},
            )
            with self._changed:
                self._failures.note(source.key, error)
                if is_shortage(error):
                    self._leave([key for key in self._resident if key not in self._fresh][:1])
            return
        with self._changed:
            self._failures.forget(source.key)
            if source.key not in self._known:  # its edition has left meanwhile
                return
            came_at = self._clock.monotonic()
            stays_until = came_at + _STAY * (came_at - began_at)
            self._resident[source.key] = _Resident(source, field, stays_until)
            if is_wanted:
                self._fresh.add(source.key)
        seconds = came_at - began_at
        self._watch(Came(source.expert, seconds, source.num_bytes, from_host=is_kept))

    @property
    def _fixed(self) -> set[str]:
        """Experts that nobody can drive away just now."""
        now, asked = self._clock.monotonic(), _keys([*self._wanted, *self._later])
        staying = {key for key, it in self._resident.items() if now < it.stays_until}
        return self._fresh | (staying & asked)

    @property
    def _wanted(self) -> list[Source]:
        return _in_turn([demand.wanted for demand in self._demands])

    @property
    def _later(self) -> list[Source]:
        return _in_turn([demand.later for demand in self._demands])

    @property
    def _soon(self) -> list[Source]:
        return _in_turn([demand.soon for demand in self._demands])

    @property
    def _known(self) -> set[str]:
        return {source.key for demand in self._demands for source in demand.sources}


def _in_turn(lists: Sequence[Sequence[Source]]) -> list[Source]:
    """The first of each list, then the second of each, and so on."""
    turns = itertools.zip_longest(*lists)
    return [source for turn in turns for source in turn if source is not None]


def _keys(sources: Sequence[Source]) -> set[str]:
    return {source.key for source in sources}
