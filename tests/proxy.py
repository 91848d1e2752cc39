"""A wire between a client and a server that is long, or cut, or goes dead."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self


class Proxy:
    """Forwards connections to a port of this machine, in a thread of its own.

    Attributes:
        delay_s: one way, of every byte; may be changed at any time.
    """

    def __init__(self, port: int, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self._target = port
        self._is_cut = False
        self._flows = asyncio.Event()  # of this loop, which begins below
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break all connections, and make none, until it is mended."""
        self._is_cut = True
        self._call(self._break_all)

    def freeze(self) -> None:
        """Let nothing through, and break nothing."""
        self._call(self._flows.clear)

    def mend(self) -> None:
        """As if nothing had happened."""
        self._is_cut = False
        self._call(self._flows.set)

    def _call(self, what: object) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (what(), done.set()))  # type: ignore[operator]
        assert done.wait(10)

    def _break_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _work(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._flows.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        self._break_all()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # transports close
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._is_cut:
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, back))
                both.create_task(self._pass_on(there, writer))
        except* OSError:
            pass
        finally:
            back.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What comes in is let out later, and meanwhile more comes in."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def let_out() -> None:
            while True:
                at, data = await on_the_way.get()
                await asyncio.sleep(max(0.0, at - self._loop.time()))
                await self._flows.wait()
                writer.write(data)
                await writer.drain()

        letting = asyncio.ensure_future(let_out())
        try:
            while data := await reader.read(1 << 16):
                on_the_way.put_nowait((self._loop.time() + self.delay_s, data))
            raise ConnectionResetError
        finally:
            letting.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await letting
