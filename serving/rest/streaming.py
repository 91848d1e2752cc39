"""``stream: true``: unfinished and finished images as events, as OpenAI's client reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from router.recipe import Recipe
from serving.rest.answers import ImageFormat, base64_png, size_of
from serving.rest.desk import Desk
from serving.rest.errors import problem_of
from serving.rest.following import views_of
from serving.service.job import ImageView, Job, Pixels

Kind = Literal["image_generation.partial_image", "image_generation.completed"]


class Tokens(BaseModel):
    """Nobody counts any here; OpenAI's clients expect the fields."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(BaseModel):
    """Likewise."""

    input_tokens: int = 0
    input_tokens_details: Tokens = Tokens()
    output_tokens: int = 0
    total_tokens: int = 0


class ImageEvent(ImageFormat):
    """An image, or what it would become from here."""

    type: Kind
    b64_json: str
    created_at: int
    quality: Literal["auto"] = "auto"
    index: int
    seed: int
    partial_image_index: int | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class _Told:
    """What was told of an image: how many previews, the step of the last one, the image itself."""

    num_previews: int = 0
    preview_step: int = 0
    image: bool = False


async def image_events_of(desk: Desk, job: Job) -> AsyncIterator[ServerSentEvent]:
    """What is new of a job's images until its end; who hangs up needs them no more."""
    told = [_Told() for _ in job.recipes]
    try:
        async for view in views_of(job):
            for index, image in enumerate(view.images):
                event = await _news(told[index], image, index, int(view.created_at))
                if event is not None:
                    text = event.model_dump_json(exclude_none=True)
                    yield ServerSentEvent(text, event=event.type)
            if view.is_over and view.state != "done":
                yield ServerSentEvent(problem_of(view).model_dump_json(), event="error")
    finally:
        desk.service.abandon(job)


async def _news(told: _Told, image: ImageView, index: int, created_at: int) -> ImageEvent | None:
    async def event(
        kind: Kind,
        pixels: Pixels,
        recipe: Recipe | None,
        partial: int | None = None,
        usage: Usage | None = None,
    ) -> ImageEvent:
        return ImageEvent(
            type=kind,
            b64_json=await base64_png(pixels, recipe),
            created_at=created_at,
            size=size_of(pixels),
            index=index,
            seed=image.recipe.seed,
            partial_image_index=partial,
            usage=usage,
        )

    if image.image is not None and not told.image:
        told.image = True
        return await event("image_generation.completed", image.image, image.recipe, usage=Usage())
    if image.image is None and image.preview is not None and image.preview_step > told.preview_step:
        told.num_previews, told.preview_step = told.num_previews + 1, image.preview_step
        place = told.num_previews - 1
        return await event("image_generation.partial_image", image.preview, None, partial=place)
    return None
