"""One connection: hung up on where it does not come to the point, refused in JSON in a crowd."""

from __future__ import annotations

import asyncio
import resource

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.rest.errors import refused

MOST_CONNECTIONS = 1000
MORE = 32  # that are told to come again; beyond them nobody hears a word
SILENT_S = 10.0  # within which a whole request has to be there, head and body
STUCK_S = 60.0  # within which a reader who does not keep up has to take something


class Connection(H11Protocol):
    """uvicorn's, which by itself waits for a request for ever, and refuses in plain text."""

    _timer: asyncio.TimerHandle | None = None
    _reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody called; over TLS, after the handshake."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            self.app = _refuse
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some of a request has come."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer is written."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        super().connection_lost(exc)
        self._rest()
        self._trust()

    def pause_writing(self) -> None:
        """The reader does not keep up."""
        super().pause_writing()
        self._doubt()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        self._trust()

    def shutdown(self) -> None:
        """The service leaves: who is owed an answer gets it, and nobody else is waited for."""
        if self._owes:
            super().shutdown()
        else:
            self.transport.close()

    @property
    def _owes(self) -> bool:
        """Whether a whole request is not answered yet."""
        cycle = self.cycle  # None before the first; the declared type leaves that out
        return bool(cycle) and not cycle.more_body and not cycle.response_complete

    def _watch(self) -> None:
        """Bytes of a request gain it no time: whoever sends one after the other is as silent."""
        if self._owes or self.transport.is_closing():
            self._rest()
        elif self._timer is None:
            self._timer = self.loop.call_later(SILENT_S, self.transport.close)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _doubt(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(STUCK_S, self._hang_up_if_stuck, unread)

    def _hang_up_if_stuck(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() < unread:
            self._doubt()
        else:
            self.transport.abort()  # to close it would be to wait for the reader

    def _trust(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None


def most_connections() -> int:
    """How many are served; each takes a file handle, of which half are for the service's files."""
    handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_bounded = handles != resource.RLIM_INFINITY
    return min(MOST_CONNECTIONS, handles // 2) if is_bounded else MOST_CONNECTIONS


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": "5", "Connection": "close"}
    answer = refused(503, "too many connections are open; ask again later", headers=headers)
    await answer(scope, receive, send)
