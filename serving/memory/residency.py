"""Fewer experts in memory than there are: a thread brings them in from behind.

The engine takes the experts that are there as they are at its tick, and an expert that leaves
meanwhile is freed after that: for so long one more than the budget allows may be in memory. Who
comes and who leaves is decided in :mod:`serving.memory.holdings`.

Editions share one residency: what is of the same checkpoint in both is in memory once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence

import torch

from atoll.clock import Clock
from atoll.errors import BadInput
from experts.flow import VelocityField
from serving.engine.tick import Came, Watch, nobody
from serving.memory.holdings import Demand, Holdings
from serving.memory.host import HostMemory
from serving.memory.shelf import Shelf
from serving.memory.source import Source

_log = logging.getLogger(__name__)
_PATIENCE_S = 5.0  # with a store that stalls, at the end


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
            clock: for pauses.
            watch: is told who comes and leaves; it must not call back.
        """
        self._budget_bytes, self._host, self._clock = budget_bytes, host, clock
        self._bell, self._watch = bell, watch
        self._changed = threading.Condition()  # guards what follows
        self._holdings = Holdings(budget_bytes, clock, watch)
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="residency", daemon=True)
        self._thread.start()

    def share(self, sources: Sequence[Source]) -> Shelf:
        """See :class:`serving.memory.holder.Holder`."""
        return Shelf(self, sources)

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
            self._holdings.demands.append(demand)
            self._changed.notify_all()
        return demand

    def dismiss(self, demand: Demand) -> None:
        """An edition is out of use: let go of what is in no other."""
        with self._changed:
            self._holdings.dismiss(demand)
            self._changed.notify_all()

    @property
    def resident(self) -> Mapping[str, VelocityField]:
        """The experts in memory as of now, by key."""
        with self._changed:
            return self._holdings.fields

    @property
    def lost(self) -> Collection[str]:
        """Keys of those that cannot be had now; the log says why."""
        with self._changed:
            if self.is_alive or self._stopped:
                return self._holdings.lost
            return self._holdings.known - self._holdings.fields.keys()

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
            demand.wanted, demand.later, demand.soon = wanted, later, soon
            self._holdings.note_used(used)
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
            self._holdings.spare(needed)
        torch.cuda.empty_cache()

    def _work(self) -> None:
        try:
            self._serve()
        except Exception:  # whatever it is, nobody would say so
            _log.exception("experts come into memory no more; start the service anew")

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (source := self._holdings.next()) is None:
                    self._changed.wait(self._holdings.pause_s())
                    self._host.keep_only(self._holdings.known)
                if self._stopped:
                    return
                assert source is not None
                self._holdings.make_room(source)
            self._bring(source)
            self._bell.set()

    def _bring(self, source: Source) -> None:
        began_at, is_kept = self._clock.monotonic(), self._host.has(source)
        try:
            field = source.build(self._host.on_device(self._host.weights(source)))
        except Exception as error:  # whatever a store or a driver raises
            _log.warning(
                "an expert was not loaded",
                extra={"fields": {"expert": source.expert, "reason": str(error)}},
            )
            with self._changed:
                self._holdings.failed(source, error)
            return
        seconds = self._clock.monotonic() - began_at
        with self._changed:
            is_of_use = self._holdings.came(source, field, seconds)
        if is_of_use:
            self._watch(Came(source.expert, seconds, source.num_bytes, from_host=is_kept))
