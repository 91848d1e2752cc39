"""``/v1/images/generations``, as OpenAI has it: images in the answer to the one call."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from router.recipe import png_of
from serving.rest.access import OwnerDep
from serving.rest.answers import ImageData, ImagesAnswer, base64_png
from serving.rest.body import Generation
from serving.rest.desk import Desk, DeskDep
from serving.rest.errors import REFUSALS, status_of
from serving.rest.events import Events
from serving.rest.following import end_of, hung_up
from serving.rest.streaming import image_events_of
from serving.service.job import ImageView, Job, JobView

router = APIRouter(tags=["images"])

_LINKS = "v1/images"
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "the image"},
    **REFUSALS,
}
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
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
    is_linked = wish.response_format == "url"
    at = f"{request.base_url}{_LINKS}/{desk.links.to(job)}" if is_linked else None
    return ImagesAnswer(
        created=int(view.created_at),
        data=[await _data(index, each, at) for index, each in enumerate(view.images)],
        size=desk.size,
    )


@router.get(f"/{_LINKS}/{{link}}/{{index}}.png", response_class=Response, responses=_PNG)
async def fetch(link: str, index: Annotated[int, Path(ge=0)], desk: DeskDep) -> Response:
    """An image by the `url` of an answer, without a key, with its recipe inside."""
    images = desk.links.job(link).view().images
    if index >= len(images):
        raise HTTPException(404, f"the images here are numbered 0 to {len(images) - 1}")
    image = images[index]
    assert image.image is not None
    png = await run_in_threadpool(png_of, image.image, image.recipe)
    return Response(png, media_type="image/png", headers=_KEPT)


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


async def _data(index: int, image: ImageView, at: str | None) -> ImageData:
    assert image.image is not None
    return ImageData(
        b64_json=await base64_png(image.image, image.recipe) if at is None else None,
        url=None if at is None else f"{at}/{index}.png",
        revised_prompt=image.recipe.condition or None,
        seed=image.recipe.seed,
    )
