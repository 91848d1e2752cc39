"""A job's changes in a loop of asyncio, told by the thread that draws."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Request

from serving.service.job import Job, JobView


async def views_of(job: Job, rest_s: float | None = None) -> AsyncIterator[JobView]:
    """Where a job stands: now, after changes, and at its end; who is slow misses some between.

    Args:
        job: to be followed.
        rest_s: after which it is looked at again, though nothing changed; None for never.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens any more
            loop.call_soon_threadsafe(changed.set)

    end = job.watch(tell)
    try:
        while True:
            changed.clear()
            view = job.view()
            yield view
            if view.is_over:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), rest_s)
    finally:
        end()


async def end_of(job: Job) -> JobView:
    """Where a job stands at its end."""
    async for view in views_of(job):
        if view.is_over:
            break
    return view


async def hung_up(request: Request) -> None:
    """Wait until a caller, whose body was read, goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
