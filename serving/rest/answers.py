"""Answers: OpenAI's of images, and where a job stands."""

from __future__ import annotations

from base64 import b64encode
from typing import Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from router.recipe import Recipe, png_of
from serving.service.job import ImageView, JobView, Pixels, State


class ImageFormat(BaseModel):
    """What OpenAI says of images besides."""

    size: str
    output_format: Literal["png"] = "png"
    background: Literal["opaque"] = "opaque"


class ImageData(BaseModel):
    """An image, as OpenAI's client takes it."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    seed: int


class ImagesAnswer(ImageFormat):
    """Images that were asked for."""

    created: int
    data: list[ImageData]


class JobImage(BaseModel):
    """How far an image of a job is."""

    index: int
    seed: int
    condition: str
    step: int
    steps: int
    weights: list[list[float]]
    recipe: Recipe
    url: str | None
    preview_url: str | None
    preview_step: int


class JobAnswer(BaseModel):
    """Where a job stands."""

    id: str
    state: State
    reason: str
    ahead: int
    created_at: float
    queued_s: float
    seconds: float
    images: list[JobImage]


def job_answer(view: JobView, ahead: int) -> JobAnswer:
    """Where a job stands.

    Args:
        view: of the job.
        ahead: images before it.
    """
    return JobAnswer(
        id=view.name,
        state=view.state,
        reason=view.reason,
        ahead=ahead,
        created_at=view.created_at,
        queued_s=view.queued_s,
        seconds=view.seconds,
        images=[_image(view.name, *each) for each in enumerate(view.images)],
    )


async def base64_png(pixels: Pixels, recipe: Recipe | None = None) -> str:
    """An image, with its recipe inside where there is one."""
    return b64encode(await run_in_threadpool(png_of, pixels, recipe)).decode()


def job_path(name: str) -> str:
    """Where a job is found."""
    return f"/v1/jobs/{name}"


def image_path(name: str, index: int) -> str:
    """Where an image of a job is found."""
    return f"{job_path(name)}/images/{index}.png"


def _image(name: str, index: int, image: ImageView) -> JobImage:
    preview = f"{job_path(name)}/previews/{index}.png?step={image.preview_step}"
    return JobImage(
        index=index,
        seed=image.recipe.seed,
        condition=image.recipe.condition,
        step=image.step,
        steps=image.recipe.steps,
        weights=[[round(weight, 4) for weight in step] for step in image.weights],
        recipe=image.recipe,
        url=None if image.image is None else image_path(name, index),
        preview_url=None if image.preview is None else preview,
        preview_step=image.preview_step,
    )
