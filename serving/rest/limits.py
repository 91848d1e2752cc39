"""No larger request than an image can need."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 512 << 10  # the longest prompt, each of its characters as two escapes


class BodyLimit:
    """Refuses a body that is too large as soon as that is known: what it said, or what has come."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        num_bytes = 0

        async def received() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if max(num_bytes, _told(scope)) > MOST_BYTES:
                raise HTTPException(413, f"the body is too large; send up to {MOST_BYTES} bytes")
            return message

        await self._app(scope, received if scope["type"] == "http" else receive, send)


def _told(scope: Scope) -> int:
    length = Headers(scope=scope).get("Content-Length", "")
    return int(length) if length.isdecimal() else 0
