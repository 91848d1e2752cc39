"""``/v1/images/generations``, as OpenAI has it: images in the answer to the one call."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from router.recipe import png_of
from serving.job import ImageView, Job, JobView
from serving.rest.answers import ImageData, ImagesAnswer, image_path
from serving.rest.body import Generation
from serving.rest.desk import Desk, DeskDep, OwnerDep
from serving.rest.errors import REFUSALS
from serving.rest.following import end_of, leaving

router = APIRouter(responses=REFUSALS, tags=["images"])

_GONE = 499  # nobody reads it


@router.post(
    "/v1/images/generations", response_model=ImagesAnswer, response_model_exclude_none=True
)
async def generate(
    wish: Generation, request: Request, desk: DeskDep, owner: OwnerDep
) -> ImagesAnswer | Response:
    """Draw images. Whoever hangs up needs them no more."""
    job = desk.order(wish, owner)
    view = await _drawn(desk, job, request)
    if not view.is_over:
        return Response(status_code=_GONE)
    if view.state != "done":
        raise HTTPException(410 if view.state == "cancelled" else 500, view.reason)
    base = str(request.base_url).rstrip("/") if wish.response_format == "url" else None
    return ImagesAnswer(
        created=int(view.created_at),
        data=[await _data(view.name, index, each, base) for index, each in enumerate(view.images)],
        size=size_of(desk),
    )


def size_of(desk: Desk) -> str:
    """Of its images, as OpenAI writes it."""
    _, height, width = desk.service.edition.menu.shape
    return f"{width}x{height}"


async def encoded(image: ImageView) -> str:
    """A finished image with its recipe, in base64."""
    return b64encode(await run_in_threadpool(png_of, image.image, image.recipe)).decode()


async def _drawn(desk: Desk, job: Job, request: Request) -> JobView:
    drawing, gone = asyncio.ensure_future(end_of(job)), asyncio.ensure_future(leaving(request))
    try:
        await asyncio.wait({drawing, gone}, return_when=asyncio.FIRST_COMPLETED)
        return job.view()
    finally:
        drawing.cancel()
        gone.cancel()
        desk.abandon(job)


async def _data(name: str, index: int, image: ImageView, base: str | None) -> ImageData:
    return ImageData(
        b64_json=await encoded(image) if base is None else None,
        url=None if base is None else base + image_path(name, index),
        revised_prompt=image.recipe.condition or None,
        seed=image.recipe.seed,
    )
