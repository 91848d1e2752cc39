"""A client of the DHT as a process: a JSON request a line on standard input, an answer a line out.

It ends with its input, and so with whoever has started it. It holds no secrets: what it writes was
signed before, and what it reads is believed by nobody yet.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll.errors import AtollError
from membership.node import Node, sockets_in


class Service:
    """Answers requests; joins the DHT at the first, and anew whenever it knows nobody any more."""

    def __init__(self, peers: Sequence[str]) -> None:
        self._peers = peers
        self._node: Node | None = None

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a request brings, or why it brought nothing."""
        try:
            node = await self._joined()
            if "find" in request:
                found = await node.find(request["find"])
                return {"found": [base64.b64encode(record).decode() for record in found]}
            key, name, record, until = request["announce"]
            await node.announce(key, name, base64.b64decode(record), until)
        except AtollError as error:
            return {"error": str(error)}
        return {}

    async def close(self) -> None:
        """Leave the DHT."""
        node, self._node = self._node, None
        if node is not None:
            await node.close()

    async def _joined(self) -> Node:
        if self._node is not None and self._node.is_alone:
            await self.close()
        if self._node is None:
            self._node = await Node.calling(self._peers)
        return self._node


async def _serve(peers: Sequence[str]) -> None:
    service, requests = Service(peers), asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    _say({})  # all is imported
    try:
        while line := await requests.readline():
            _say(await service.answer(json.loads(line)))
    finally:
        await service.close()


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="atoll-") as folder:
        sockets_in(Path(folder))
        asyncio.run(_serve(sys.argv[1:]))
