"""A wire to a port of this machine, as a process: stop it, and who speaks through it is cut off.

It says its own port, then a line for whatever happens to it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from pathlib import Path


class Wire:
    """Leads to a port, or to where an orchestrator serves by the file in which it says so."""

    def __init__(self, end: str, delay_s: float, cut_every_s: float) -> None:
        self._end = end
        self._delay_s = delay_s
        self._cut_every_s = cut_every_s
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.gather(server.serve_forever(), self._cut())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        print("connected", flush=True)
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port())
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        writer.close()

    def _port(self) -> int:
        if self._end.isdecimal():
            return int(self._end)
        found = json.loads(Path(self._end).read_text())
        return int(found["address"].rpartition(":")[2])

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whatever comes is on its way for a while, and so is the end of it."""
        loop = asyncio.get_running_loop()
        self._open.add(writer)
        try:
            while data := await reader.read(65536):
                loop.call_later(self._delay_s, writer.write, data)
        finally:
            loop.call_later(self._delay_s, writer.close)
            self._open.discard(writer)

    async def _cut(self) -> None:
        while self._cut_every_s:
            await asyncio.sleep(self._cut_every_s)
            for writer in self._open:
                writer.transport.abort()
                print("cut", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("end", help="a port, or the file that tells an address")
    parser.add_argument("--delay-s", type=float, default=0.0, help="of every byte, either way")
    parser.add_argument("--cut-every-s", type=float, default=0.0, help="0 for never")
    given = parser.parse_args()
    asyncio.run(Wire(given.end, given.delay_s, given.cut_every_s).serve())
