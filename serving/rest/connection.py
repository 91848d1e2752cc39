"""One connection: hung up on where it does not come to the point, refused in JSON in a crowd."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.rest.errors import refused

MOST_CONNECTIONS = 1000  # each takes a file handle
SILENT_S = 10.0  # within which the head of the first request has to be there


class Connection(H11Protocol):
    """uvicorn's, which by itself waits for a first request for ever, and refuses in plain text."""

    def __init__(self, *args: Any, **more: Any) -> None:
        """See uvicorn."""
        super().__init__(*args, **more)
        self.app = self._answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody called; over TLS, after the handshake."""
        super().connection_made(transport)
        self.loop.call_later(SILENT_S, self._hang_up_if_silent)

    def _hang_up_if_silent(self) -> None:
        if self.cycle is None:  # no request has begun; the declared type leaves that out
            self.transport.close()  # type: ignore[unreachable]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_crowded = len(self.connections) > MOST_CONNECTIONS
        await (_refuse if is_crowded else self.config.loaded_app)(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": "5", "Connection": "close"}
    answer = refused(503, "too many connections are open; ask again later", headers=headers)
    await answer(scope, receive, send)
