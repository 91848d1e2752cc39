"""Events whose reader takes nothing."""

from __future__ import annotations

import asyncio

from sse_starlette import ServerSentEvent

from serving.rest import events
from serving.rest.events import Events


def test_reader_that_takes_nothing_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(events, "STUCK_S", 0.05)
    closed = []

    async def endless():
        try:
            while True:
                yield ServerSentEvent("news", event="job")
        finally:
            closed.append(True)

    async def read_nothing(message):
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def stay():
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET"}
    asyncio.run(Events(endless())(scope, stay, read_nothing))
    assert closed == [True]
