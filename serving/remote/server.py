"""A server that a gateway calls: what is known of it, and the stream to it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from torch import Tensor

from atoll.clock import Clock
from atoll.wire.v1 import experts_pb2 as wire
from serving.remote.conditions import Told, is_large
from serving.remote.link import Link
from serving.remote.replica import Replica
from serving.remote.rows import Asked

_DESCRIBE_S = 2.0  # that it may take to say who it is


@dataclass(slots=True, eq=False)
class Server:
    """For the event loop of its link alone.

    Attributes:
        replica: what is known of it.
        link: to it.
        clock: for times.
        described_at: when it said last who it is, by the clock; -inf to ask at once.
        asking: whether it is asked just now.
        told: conditions that it knows.
    """

    replica: Replica
    link: Link
    clock: Clock
    described_at: float = -math.inf
    asking: asyncio.Task[None] | None = None
    told: Told = field(init=False)

    def __post_init__(self) -> None:
        self.told = Told(self.clock)

    async def describe(self) -> None:
        """Ask whom it speaks for. Raises: Unreachable."""
        told = await self.link.describe(_DESCRIBE_S)
        self.described_at = self.clock.monotonic()
        experts = {each.expert: each.checkpoint for each in told.experts}
        self.told.room_bytes = told.conditions_bytes
        self.replica.described(experts, told.waiting_rows)

    def begin(self, rows: Asked, deadline_s: float) -> asyncio.Task[Tensor]:
        """Ask about rows; see :meth:`Asked.velocity` for what is raised."""
        replica, num_rows = self.replica, rows.num_rows + rows.num_further
        replica.num_rows += num_rows  # at once, for whoever looks for the least loaded next

        def over(_: object) -> None:
            replica.num_rows -= num_rows

        asking = asyncio.ensure_future(self._ask(rows, deadline_s))
        asking.add_done_callback(over)
        return asking

    async def _ask(self, rows: Asked, deadline_s: float) -> Tensor:
        began_at = self.clock.monotonic()
        is_heavy, generation = is_large(rows.condition), 0

        def make() -> list[wire.EvaluateRequest]:
            nonlocal generation
            generation = self.told.generation
            return rows.messages(deadline_s, self.told)

        told = await self.link.ask(make, is_heavy=is_heavy)
        while told.refusal == wire.REFUSAL_UNTOLD:  # all are told anew, and then all are sent
            self.told.missed(generation)
            told = await self.link.ask(make, is_heavy=is_heavy)
        velocity = rows.velocity(told)
        seconds = self.clock.monotonic() - began_at
        self.replica.answered(
            max(seconds - told.waited_s, 0.0),
            rows.num_rows / max(told.evaluated_s, 1e-6),
            told.waiting_rows,
        )
        return velocity
