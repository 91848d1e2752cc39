"""The port: no more connections are taken at it than there are file handles for."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from atoll.ports import listening_on, taken
from serving.rest.connection import SILENT_S

_BACKLOG = 2048


class Port(socket.socket):
    """Listens, and hangs up at once on who is one too many.

    That is before TLS, and before anything that a caller may draw out.
    """

    def __init__(self, listening: socket.socket, most: int) -> None:
        """Take over a socket.

        Args:
            listening: it is of no use afterwards.
            most: connections at once.
        """
        super().__init__(listening.family, listening.type, fileno=listening.detach())
        self._most, self._taken = most, set[socket.socket]()

    def accept(self) -> tuple[socket.socket, Any]:
        """See :class:`socket.socket`. Raises: ConnectionAbortedError, there are too many."""
        taken, address = super().accept()
        if len(self._taken) >= self._most:
            self._taken = {each for each in self._taken if each.fileno() >= 0}
        if len(self._taken) >= self._most:
            taken.close()
            raise ConnectionAbortedError
        self._taken.add(taken)
        return taken, address


class Loop(asyncio.SelectorEventLoop):
    """asyncio's, which by itself leaves a TLS handshake a minute."""

    async def create_server(self, *args: Any, **more: Any) -> asyncio.Server:
        """See asyncio."""
        if more.get("ssl"):
            more["ssl_handshake_timeout"] = SILENT_S
        server: asyncio.Server = await super().create_server(*args, **more)
        return server


def listen_on(address: str, most: int) -> Port:
    """Take a port.

    Args:
        address: ``host:port``; port 0 takes any free one.
        most: connections at once.

    Raises:
        BadInput: it cannot be had.
    """
    try:
        return Port(listening_on(address, _BACKLOG), most)
    except OSError as error:
        raise taken(address, "serving.listen") from error
