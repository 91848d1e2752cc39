"""The K experts of one edition, on other machines, as the engine's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.clock import Clock
from experts.flow import VelocityField
from serving.engine.deferred import Answer
from serving.engine.stretch import Stretch
from serving.memory.source import Source
from serving.remote.pool import Pool
from serving.remote.rows import RowsAsked, StretchAsked


@dataclass(frozen=True, slots=True, eq=False)
class RemoteExpert:
    """One expert, wherever it is served: a velocity field.

    Attributes:
        number: of the expert.
        checkpoint: its digest.
        pool: of servers.
        row_by_row: see :class:`serving.expert.evaluator.Asked`.
        dtype: of images and velocities on the wire.
    """

    number: int
    checkpoint: str
    pool: Pool
    row_by_row: bool
    dtype: torch.dtype

    def begin(
        self, x_t: Tensor, t: Tensor, cond: Tensor | None, told: Callable[[], None]
    ) -> Answer:
        """See :class:`serving.engine.deferred.Deferred`."""
        rows = RowsAsked(self.number, self.checkpoint, x_t, t, cond, self.row_by_row, self.dtype)
        return self.pool.begin(rows, told)

    def begin_stretch(self, stretch: Stretch, told: Callable[[], None]) -> Answer:
        """See :class:`serving.engine.deferred.Drawing`."""
        asked = StretchAsked(self.number, self.checkpoint, stretch, self.row_by_row, self.dtype)
        return self.pool.begin(asked, told)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """See :class:`experts.flow.VelocityField`. Raises: Unreachable."""
        return self.begin(x_t, t, cond, lambda: None).result()


class RemoteExperts:
    """See :class:`serving.engine.model.Experts`."""

    def __init__(
        self,
        fields: Sequence[RemoteExpert],
        pool: Pool,
        clock: Clock,
        wait_s: float,
    ) -> None:
        """Those of some checkpoints.

        Args:
            fields: in the order of the experts' numbers.
            pool: of their servers.
            clock: tells how long one is gone.
            wait_s: for one without any server, until it is lost.
        """
        self._pool, self._clock, self._wait_s = pool, clock, wait_s
        self._fields = dict(enumerate(fields))
        self._seen_at = dict.fromkeys(self._fields, clock.monotonic())

    @property
    def num(self) -> int:
        """See :class:`serving.engine.model.Experts`."""
        return len(self._fields)

    @property
    def resident(self) -> Mapping[int, VelocityField]:
        """See :class:`serving.engine.model.Experts`."""
        served, now = self._pool.served, self._clock.monotonic()
        here = {k: it for k, it in self._fields.items() if (k, it.checkpoint) in served}
        self._seen_at.update(dict.fromkeys(here, now))
        return here

    @property
    def lost(self) -> Collection[int]:
        """See :class:`serving.engine.model.Experts`."""
        gone, now = self._fields.keys() - self.resident.keys(), self._clock.monotonic()
        return {k for k in gone if now - self._seen_at[k] > self._wait_s}

    def tell(self, used: object, wanted: object, later: object, soon: object) -> None:
        """Nobody has to come or leave."""

    def spare(self, needed: object) -> None:
        """They take no memory here."""

    def open(self) -> None:
        """Servers hold what they hold."""

    def close(self) -> None:
        """Likewise: other gateways ask them, too."""


@dataclass(frozen=True, slots=True, eq=False)
class RemoteHolder:
    """See :class:`serving.memory.holder.Holder`.

    Attributes:
        pool: of servers.
        clock: tells how long an expert is gone.
        wait_s: for one without any server.
        row_by_row: see :class:`RemoteExpert`.
        dtype: likewise.
    """

    pool: Pool
    clock: Clock
    wait_s: float
    row_by_row: bool
    dtype: torch.dtype

    @property
    def is_alive(self) -> bool:
        """See :class:`serving.memory.holder.Holder`."""
        return self.pool.is_alive

    def share(self, sources: Sequence[Source]) -> RemoteExperts:
        """See :class:`serving.memory.holder.Holder`."""
        fields = [
            RemoteExpert(it.expert, it.checkpoint, self.pool, self.row_by_row, self.dtype)
            for it in sources
        ]
        return RemoteExperts(fields, self.pool, self.clock, self.wait_s)

    def close(self) -> None:
        """See :class:`serving.memory.holder.Holder`."""
        self.pool.close()
