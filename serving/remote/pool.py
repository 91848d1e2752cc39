"""All servers that a gateway knows, and how rows find one that answers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future

import grpc
from torch import Tensor

from atoll.clock import Clock
from atoll.errors import Unreachable
from atoll.reasons import brief
from serving.remote.asking import Asking
from serving.remote.link import Link
from serving.remote.replica import Replica
from serving.remote.rows import Asked
from serving.remote.server import Server

_log = logging.getLogger(__name__)

_LOOK_S = 0.1
_DESCRIBE_AGAIN_S = 5.0
_PATIENCE_S = 5.0  # with servers that do not hang up, at the end


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
        self._servers: dict[str, Server] = {}
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
        """What is known of them, to be looked at."""
        return [each.replica for each in list(self._servers.values())]

    def begin(self, rows: Asked, told: Callable[[], None]) -> Future[Tensor]:
        """Have a server asked about rows.

        Args:
            rows: which.
            told: called once there is an answer, in another thread.

        Returns:
            See :meth:`serving.remote.asking.Asking.answer`. Who waits no longer may cancel it.
        """
        servers = self._servers.values
        asking = Asking(rows, servers, self._deadline_s, self._clock, self._note_failure)
        answer = asyncio.run_coroutine_threadsafe(self._answered(asking), self._loop)
        answer.add_done_callback(lambda _: told())
        return answer

    async def _answered(self, asking: Asking) -> Tensor:
        try:
            return await asking.answer()
        except asyncio.CancelledError as error:
            if not self._stopped:
                raise
            raise Unreachable("nobody is asked any more: this gateway ends") from error

    def _note_failure(self, server: Server, why: str, *, is_gone: bool = False) -> None:
        was_open, replica, former = server.replica.is_open, server.replica, server.replica.why
        replica.failed(why, is_gone=is_gone)
        if was_open or brief(why) != brief(former):  # once, however often it is tried
            fields = {"address": replica.address, "why": brief(why)}
            words = "an expert server fails" if was_open else "an expert server cannot be asked"
            _log.warning(words, extra={"fields": fields})
        self._note_open()

    def _note_open(self) -> None:
        now = frozenset(
            served
            for each in self._servers.values()
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
            self._stopped = True
            self._loop.run_until_complete(_end_all())
            self._loop.close()

    async def _keep(self) -> None:
        """Know all servers there are, and whom they speak for."""
        while not self._stopped:
            await self._meet()
            now = self._clock.monotonic()
            for each in self._servers.values():
                is_old = now - each.described_at > _DESCRIBE_AGAIN_S or not each.replica.is_open
                if each.asking is None and is_old and each.replica.may_be_tried:
                    each.asking = asyncio.ensure_future(self._describe(each))
            await asyncio.sleep(_LOOK_S)
        for each in self._servers.values():
            if each.asking is not None:
                each.asking.cancel()
            await each.link.close()

    async def _meet(self) -> None:
        addresses = set(self._addresses())
        for address in addresses - self._servers.keys():
            replica = Replica(address, self._clock)
            self._servers[address] = Server(replica, Link(address, self._credentials), self._clock)
        for address in self._servers.keys() - addresses:
            await self._servers.pop(address).link.close()
            self._note_open()

    async def _describe(self, server: Server) -> None:
        try:
            was_open = server.replica.is_open
            await server.describe()
            if not was_open:
                fields = {"address": server.replica.address, "experts": [*server.replica.experts]}
                _log.info("an expert server is there", extra={"fields": fields})
            self._note_open()
        except Unreachable as error:
            self._note_failure(server, str(error), is_gone=True)
        finally:
            server.asking = None


async def _end_all() -> None:
    """Leave nobody waiting for an answer."""
    await asyncio.sleep(0)  # for what was handed over at the last moment
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # some begin others as they end
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
