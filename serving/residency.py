"""Fewer experts in memory than there are: brought in from behind, the least recently used leave.

A thread of its own loads what images wait for, the most urgent first. The engine takes the experts
that are there as they are at its tick, and an expert that leaves meanwhile is freed after that: for
so long one more than the budget allows may be in memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from atoll.errors import AtollError, BadInput
from experts.flow import VelocityField
from serving.tick import Came, Left, Watch, nobody


@dataclass(frozen=True, slots=True)
class Source:
    """Where an expert comes from.

    Attributes:
        num_bytes: that it takes in memory.
        load: brings it there; raises AtollError if it cannot.
    """

    num_bytes: int
    load: Callable[[], VelocityField]


class Residency:
    """See :class:`serving.engine.Experts`."""

    def __init__(
        self,
        sources: Sequence[Source],
        budget_bytes: int,
        bell: threading.Event,
        watch: Watch = nobody,
    ) -> None:
        """Nothing is in memory yet.

        Args:
            sources: of all experts.
            budget_bytes: that those in memory may take together.
            bell: is rung when an expert has come, or cannot be had.
            watch: is told who comes and leaves, in a thread of its own.

        Raises:
            BadInput: there is no room for the largest of them.
        """
        largest = max(source.num_bytes for source in sources)
        if budget_bytes < largest:
            raise BadInput(
                f"serving.memory_gb leaves room for {budget_bytes / 2**30:.3g} GiB of experts, and "
                f"one takes {largest / 2**30:.3g}; raise it"
            )
        self._sources, self._budget_bytes, self._bell = sources, budget_bytes, bell
        self._watch = watch
        self._changed = threading.Condition()  # guards what follows
        self._resident: dict[int, VelocityField] = {}  # the least recently used first
        self._fresh: set[int] = set()  # loaded, and not called since
        self._wanted: tuple[int, ...] = ()
        self._lost: dict[int, str] = {}
        self._stopped = False
        self.num_loads = 0
        self._thread = threading.Thread(target=self._work, name="residency", daemon=True)
        self._thread.start()

    @property
    def num(self) -> int:
        """See :class:`serving.engine.Experts`."""
        return len(self._sources)

    @property
    def resident(self) -> Mapping[int, VelocityField]:
        """See :class:`serving.engine.Experts`."""
        with self._changed:
            return dict(self._resident)

    @property
    def lost(self) -> Mapping[int, str]:
        """See :class:`serving.engine.Experts`."""
        with self._changed:
            return dict(self._lost)

    def tell(self, used: Collection[int], wanted: Sequence[int]) -> None:
        """See :class:`serving.engine.Experts`."""
        with self._changed:
            for expert in used:
                if expert in self._resident:
                    self._resident[expert] = self._resident.pop(expert)
            self._wanted = tuple(wanted)
            self._fresh = self._fresh & set(wanted) - set(used)
            self._changed.notify_all()

    def close(self) -> None:
        """Load nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._next() is not None)
                if self._stopped:
                    return
                expert = self._next()
                assert expert is not None
                left = self._make_room(self._sources[expert].num_bytes)
            for each in left:
                self._watch(Left(each))
            self._bring(expert)

    def _next(self) -> int | None:
        """Whom to bring in; None if nobody is wanted, or those in memory have to be used first."""
        for expert in self._wanted:
            if expert not in self._resident and expert not in self._lost:
                fixed = sum(self._sources[each].num_bytes for each in self._fresh)
                fits = fixed + self._sources[expert].num_bytes <= self._budget_bytes
                return expert if fits else None
        return None

    def _make_room(self, num_bytes: int) -> list[int]:
        """Who had to leave for it."""
        left = []
        able = [expert for expert in self._resident if expert not in self._fresh]
        leaving = iter(sorted(able, key=lambda expert: expert in self._wanted))
        while num_bytes + self._num_bytes() > self._budget_bytes:
            left.append(next(leaving))
            del self._resident[left[-1]]
        return left

    def _num_bytes(self) -> int:
        return sum(self._sources[expert].num_bytes for expert in self._resident)

    def _bring(self, expert: int) -> None:
        began_at = time.perf_counter()
        try:
            field = self._sources[expert].load()
        except AtollError as error:
            with self._changed:
                self._lost[expert] = str(error)
        else:
            with self._changed:
                self._resident[expert] = field
                self._fresh.add(expert)
                self.num_loads += 1
            seconds = time.perf_counter() - began_at
            self._watch(Came(expert, seconds, self._sources[expert].num_bytes))
        self._bell.set()
