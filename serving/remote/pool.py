"""All servers that a gateway knows, and how rows find one that answers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc
from torch import Tensor

from atoll.clock import Clock
from atoll.errors import Busy, Unreachable
from atoll.reasons import brief
from serving.remote.link import Link
from serving.remote.replica import Replica
from serving.remote.rows import Elsewhere, RowsAsked

_log = logging.getLogger(__name__)

_LOOK_S = 0.1
_DESCRIBE_S = 2.0  # that a server may take to say who it is
_DESCRIBE_AGAIN_S = 5.0
_UNKNOWN_S = 2.0  # after which a server is slow that has never answered before
_BUSY_S = 0.02  # until it is tried anew, where all have no room
_MOST_HEDGES = 2  # servers that are asked about the same rows at once
_PATIENCE_S = 5.0  # with servers that do not hang up, at the end


@dataclass(slots=True, eq=False)
class _Known:
    replica: Replica
    link: Link
    described_at: float = float("-inf")
    asking: asyncio.Task[None] | None = None


class Pool:
    """Asks from a thread of its own; any thread may have rows asked about."""

    def __init__(
        self,
        addresses: Callable[[], Collection[str]],
        credentials: grpc.ChannelCredentials | None,
        deadline_s: float,
        bell: threading.Event,
        clock: Clock,
    ) -> None:
        """Know nobody yet.

        Args:
            addresses: of the servers there are now, ``host:port``; asked often.
            credentials: as whom to call; None for plain text.
            deadline_s: for the answer about some rows, whoever gives it.
            bell: is rung when a server comes or goes.
            clock: for pauses and deadlines.
        """
        self._addresses, self._credentials = addresses, credentials
        self._deadline_s, self._bell, self._clock = deadline_s, bell, clock
        self._known: dict[str, _Known] = {}
        self._open: frozenset[tuple[int, str]] = frozenset()
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="experts", daemon=True)

    def start(self) -> None:
        """Look for servers from now on."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it asks what it is to ask."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Hang up on all of them."""
        self._stopped = True
        self._thread.join(_PATIENCE_S)

    @property
    def served(self) -> frozenset[tuple[int, str]]:
        """Experts, with digests of their checkpoints, that somebody can be asked about now."""
        return self._open

    def replicas(self) -> list[Replica]:
        """Those it knows, to be looked at."""
        return [each.replica for each in list(self._known.values())]

    def begin(self, rows: RowsAsked, told: Callable[[], None]) -> Future[Tensor]:
        """Have a server asked about rows.

        Args:
            rows: which.
            told: called once there is an answer, in another thread.

        Returns:
            Their velocity. Raises: Unreachable, there is no answer in time; BadInput, there is
            something wrong with them.
        """
        answer = self._soon(self._answer(rows))
        answer.add_done_callback(lambda _: told())
        return answer

    def _soon(self, work: Coroutine[Any, Any, Tensor]) -> Future[Tensor]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _answer(self, rows: RowsAsked) -> Tensor:
        """Ask the least loaded, and another where that one fails or is slow."""
        until = self._clock.monotonic() + self._deadline_s
        tried, running = list[_Known](), dict[asyncio.Task[Tensor], _Known]()
        why, is_slow = "nobody serves it", False
        try:
            while (left_s := until - self._clock.monotonic()) > 0:
                if not running or (is_slow and len(running) < _MOST_HEDGES):
                    best = self._best(rows, tried)
                    if best is not None:
                        tried.append(best)
                        running[self._begun(best, rows, left_s)] = best
                    elif not running:
                        raise Unreachable(f"expert {rows.expert}: {why}")
                wait_s = min([left_s, *(_slow_s(each.replica) for each in running.values())])
                done, _ = await asyncio.wait(
                    running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                is_slow = not done
                for task in done:
                    known = running.pop(task)
                    try:
                        return task.result()
                    except Busy as error:
                        why = str(error)
                        await asyncio.sleep(_BUSY_S)
                        tried.remove(known)
                    except Elsewhere as error:
                        why = str(error)
                    except Unreachable as error:
                        why = str(error)
                        self._note_failure(known, why)
            raise Unreachable(f"expert {rows.expert}: no answer in {self._deadline_s:g} s")
        finally:
            for task, known in running.items():  # overtaken, or out of time
                task.cancel()
                self._note_failure(known, "it did not answer in time")

    def _best(self, rows: RowsAsked, tried: Collection[_Known]) -> _Known | None:
        can = [
            each
            for each in self._known.values()
            if each.replica.is_open
            and each not in tried
            and each.replica.experts.get(rows.expert) == rows.checkpoint
        ]
        return min(can, key=lambda each: each.replica.load, default=None)

    def _begun(self, known: _Known, rows: RowsAsked, seconds: float) -> asyncio.Task[Tensor]:
        replica, num_rows = known.replica, len(rows.t)
        replica.num_rows += num_rows  # at once, for whoever looks for the least loaded next

        def over(_: object) -> None:
            replica.num_rows -= num_rows

        asking = asyncio.ensure_future(self._ask(known, rows, seconds))
        asking.add_done_callback(over)
        return asking

    async def _ask(self, known: _Known, rows: RowsAsked, seconds: float) -> Tensor:
        began_at = self._clock.monotonic()
        response = await known.link.ask(rows.request(seconds))
        velocity = rows.velocity(response)
        known.replica.answered(self._clock.monotonic() - began_at, response.waiting_rows)
        return velocity

    def _note_failure(self, known: _Known, why: str) -> None:
        known.replica.failed(why)
        _log.warning(
            "an expert server fails",
            extra={"fields": {"address": known.replica.address, "why": brief(why)}},
        )
        self._note_open()

    def _note_open(self) -> None:
        now = frozenset(
            served
            for each in self._known.values()
            if each.replica.is_open
            for served in each.replica.experts.items()
        )
        if now != self._open:
            self._open = now
            self._bell.set()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._keep())
        except Exception:  # whatever it is, nobody would say so
            _log.exception("experts elsewhere are asked no more; start the service anew")
        finally:
            self._loop.close()

    async def _keep(self) -> None:
        """Know all servers there are, and whom they speak for."""
        while not self._stopped:
            await self._meet()
            now = self._clock.monotonic()
            for each in self._known.values():
                is_old = now - each.described_at > _DESCRIBE_AGAIN_S or not each.replica.is_open
                if each.asking is None and is_old and each.replica.may_be_tried:
                    each.asking = asyncio.ensure_future(self._describe(each))
            await asyncio.sleep(_LOOK_S)
        for each in self._known.values():
            if each.asking is not None:
                each.asking.cancel()
            await each.link.close()

    async def _meet(self) -> None:
        addresses = set(self._addresses())
        for address in addresses - self._known.keys():
            link = Link(address, self._credentials)
            self._known[address] = _Known(Replica(address, self._clock), link)
        for address in self._known.keys() - addresses:
            await self._known.pop(address).link.close()
            self._note_open()

    async def _describe(self, known: _Known) -> None:
        try:
            told = await known.link.describe(_DESCRIBE_S)
            experts = {each.expert: each.checkpoint for each in told.experts}
            known.described_at = self._clock.monotonic()
            known.replica.described(experts, told.waiting_rows)
            self._note_open()
        except Unreachable as error:
            if known.replica.is_open:
                self._note_failure(known, str(error))
            else:
                known.replica.failed(str(error))
        finally:
            known.asking = None


def _slow_s(replica: Replica) -> float:
    return min(replica.slow_s, _UNKNOWN_S)
