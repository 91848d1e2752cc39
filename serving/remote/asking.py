"""How some rows come to an answer: of the least loaded server, or another one.

Where a server fails, the next one is asked; where one is slow, a second one beside it, and whoever
answers first is heard (hedged requests: Dean & Barroso, The Tail at Scale, CACM 2013).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from atoll.clock import Clock
from atoll.errors import Busy, Unreachable
from serving.remote.rows import Asked, Elsewhere
from serving.remote.server import Server

_UNKNOWN_S = 2.0  # after which a server is slow that has never answered before
_BUSY_S = 0.02  # until it is tried anew, where all have no room
_MOST_HEDGES = 2  # servers that are asked about the same rows at once


@dataclass(frozen=True, slots=True)
class _Begun:
    server: Server
    at: float
    slow_at: float


@dataclass(slots=True, eq=False)
class Asking:
    """Rows on their way.

    Attributes:
        rows: which.
        servers: those there are now; asked again for each try.
        deadline_s: for an answer, whoever gives it.
        clock: for that.
        fail: told which server has failed, and why.
    """

    rows: Asked
    servers: Callable[[], Iterable[Server]]
    deadline_s: float
    clock: Clock
    fail: Callable[[Server, str], None]
    _tried: list[Server] = field(default_factory=list)
    _begun: dict[asyncio.Task[Tensor], _Begun] = field(default_factory=dict)
    _why: str = "nobody serves it"
    _is_slow: bool = False

    async def answer(self) -> Tensor:
        """Their velocity, (B, C, H, W).

        Raises:
            Unreachable: there is no server left to ask, or none has answered in time.
            BadInput: no server can take these rows.
        """
        until = self.clock.monotonic() + self.deadline_s
        try:
            while (left_s := until - self.clock.monotonic()) > 0:
                if not self._begun or (self._is_slow and len(self._begun) < _MOST_HEDGES):
                    self._ask_one_more(left_s)
                done = await self._wait(left_s)
                self._is_slow = self._is_slow or not done
                for task in done:
                    velocity = await self._heard(task)
                    if velocity is not None:
                        return velocity
            raise Unreachable(f"expert {self.rows.expert}: no answer in {self.deadline_s:g} s")
        except asyncio.CancelledError:  # whoever waited for it has left, and nobody was slow
            for task in self._begun:
                task.cancel()
            self._begun.clear()
            raise
        finally:
            self._give_up(is_late=self.clock.monotonic() >= until)

    def _ask_one_more(self, seconds: float) -> None:
        best = _best(self.servers(), self.rows, self._tried)
        if best is not None:
            now = self.clock.monotonic()
            slow_s = min(best.replica.slow_s, _UNKNOWN_S)
            slow_at = now + slow_s + best.replica.further_s(self.rows.num_further)
            self._tried.append(best)
            self._begun[best.begin(self.rows, seconds)] = _Begun(best, now, slow_at)
        elif not self._begun:
            raise Unreachable(f"expert {self.rows.expert}: {self._why}")

    async def _wait(self, left_s: float) -> Collection[asyncio.Task[Tensor]]:
        """Until somebody answers, or all are slow who were asked."""
        if not self._is_slow:
            slow_at = max(each.slow_at for each in self._begun.values())
            left_s = min(left_s, max(slow_at - self.clock.monotonic(), 0.0))
        done, _ = await asyncio.wait(
            self._begun, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
        )
        return done

    async def _heard(self, task: asyncio.Task[Tensor]) -> Tensor | None:
        server = self._begun.pop(task).server
        try:
            return task.result()
        except Busy as error:
            self._why = str(error)
            await asyncio.sleep(_BUSY_S)
            self._tried.remove(server)
        except Elsewhere as error:
            self._why = str(error)
        except Unreachable as error:
            self._why = str(error)
            self.fail(server, self._why)
        return None

    def _give_up(self, *, is_late: bool) -> None:
        """Wait no more for those who have not answered."""
        now = self.clock.monotonic()
        for task, begun in self._begun.items():
            task.cancel()
            if is_late:
                self.fail(begun.server, "it did not answer in time")
            else:
                begun.server.replica.overtaken(now - begun.at)
                begun.server.described_at = -math.inf  # whether it lives is to be asked at once


def _best(servers: Iterable[Server], rows: Asked, tried: Collection[Server]) -> Server | None:
    can = [
        each
        for each in servers
        if each.replica.is_open
        and each not in tried
        and each.replica.experts.get(rows.expert) == rows.checkpoint
    ]
    return min(can, key=lambda each: each.replica.load, default=None)
