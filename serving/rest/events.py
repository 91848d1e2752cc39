"""Answers of events, for as long as somebody reads them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

STUCK_S = 60.0  # after which a reader who takes nothing is hung up on


class Events(EventSourceResponse):
    """Server-sent events."""

    def __init__(self, events: AsyncIterator[ServerSentEvent]) -> None:
        """Answer with what comes; it is closed when nobody reads it any more."""
        super().__init__(events, send_timeout=STUCK_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.warning("hung up on a reader who took nothing")
