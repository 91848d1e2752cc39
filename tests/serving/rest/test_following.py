"""A job's changes, as a loop of asyncio hears of them."""

from __future__ import annotations

import asyncio

from serving.rest.following import views_of
from serving.service.order import Order
from tests.serving.built import finished


def test_reader_who_is_slow_misses_what_is_old_and_is_told_the_end(served):
    served.built.valve.let(0)
    job = served.service.order(Order(num=2, steps=20), "me")

    async def told():
        views = views_of(job)
        first = await anext(views)
        served.built.valve.let(None)
        await asyncio.to_thread(finished, job)
        return [first.state, *[view.state async for view in views]]

    assert asyncio.run(told()) == ["queued", "done"]
    assert job.view().version > 40
