"""``/v1/images/generations``, as OpenAI has it: images in the answer to the one call."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from serving.rest.access import OwnerDep
from serving.rest.answers import ImageData, ImagesAnswer, base64_png, size_of
from serving.rest.body import Generation
from serving.rest.desk import Desk, DeskDep
from serving.rest.errors import REFUSALS, status_of
from serving.rest.events import Events
from serving.rest.following import end_of, hung_up
from serving.rest.streaming import image_events_of
from serving.service.job import ImageView, Job, JobView

router = APIRouter(tags=["images"])

_GONE = 499  # nobody reads it
_ONCE = {"X-Should-Retry": "false"}  # or OpenAI's client asks again for what is of no use any more


@router.post(
    "/v1/images/generations",
    response_model=ImagesAnswer,
    response_model_exclude_none=True,
    responses={200: {"content": {"text/event-stream": {}}}, **REFUSALS},
)
async def generate(
    wish: Generation, request: Request, desk: DeskDep, owner: OwnerDep
) -> ImagesAnswer | Response:
    """Draw images, in one answer or as events. Whoever hangs up needs them no more."""
    job = await run_in_threadpool(desk.order, wish, owner)
    if wish.stream:
        return Events(image_events_of(desk, job))
    view = await _drawn(desk, job, request)
    if not view.is_over:
        return Response(status_code=_GONE)
    if view.state != "done":
        headers = _ONCE if view.is_late else None
        raise HTTPException(status_of(view), view.reason, headers)
    link = desk.links.to(job) if wish.response_format == "url" else ""
    urls = [
        str(request.url_for("fetch", link=link, index=index)) if link else None
        for index in range(len(view.images))
    ]
    return ImagesAnswer(
        created=int(view.created_at),
        data=[await _data(*each) for each in zip(view.images, urls, strict=True)],
        size=_size(view),
    )


async def _drawn(desk: Desk, job: Job, request: Request) -> JobView:
    """Where a job stands at its end, or when nobody waits for it any more."""
    drawing, gone = asyncio.ensure_future(end_of(job)), asyncio.ensure_future(hung_up(request))
    try:
        await asyncio.wait({drawing, gone}, return_when=asyncio.FIRST_COMPLETED)
        return job.view()
    finally:
        drawing.cancel()
        gone.cancel()
        desk.service.abandon(job)


def _size(view: JobView) -> str:
    first = view.images[0].image  # of which all are
    assert first is not None
    return size_of(first)


async def _data(image: ImageView, url: str | None) -> ImageData:
    assert image.image is not None
    return ImageData(
        b64_json=await base64_png(image.image, image.recipe) if url is None else None,
        url=url,
        revised_prompt=image.recipe.condition or None,
        seed=image.recipe.seed,
        without=list(image.recipe.without) or None,
    )
