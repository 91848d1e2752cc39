"""Answers: OpenAI's of images, and where a job stands."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from atoll.image_size import size_name
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
    without: list[int] | None = Field(
        None, description="experts that could not be had for it; left out where all could"
    )


class ImagesAnswer(ImageFormat):
    """Images that were asked for."""

    created: int
    data: list[ImageData]


class ImageChanges(BaseModel):
    """What of an image of a job changes."""

    index: int
    step: int
    weights: list[list[float]] = Field(
        description="of the experts, in each step; in `changes`, of the steps since the last event"
    )
    url: str | None
    preview_url: str | None
    preview_step: int
    without: list[int] = Field(description="experts that could not be had in some step")


class JobImage(ImageChanges):
    """How far an image of a job is."""

    seed: int
    condition: str
    steps: int
    recipe: Recipe


class Standing(BaseModel):
    """Where a job stands as a whole."""

    id: str
    state: State
    reason: str
    ahead: int = Field(
        description="images of others that are due before the first of its own, while it is queued"
    )
    created_at: float
    queued_s: float
    seconds: float


class JobAnswer(Standing):
    """Where a job stands, and each of its images."""

    images: list[JobImage]


class JobChanges(Standing):
    """Where a job stands, and the images that have changed: `changes` among its events."""

    images: list[ImageChanges]


def job_answer(view: JobView, ahead: int) -> JobAnswer:
    """Where a job stands.

    Args:
        view: of the job.
        ahead: images before it.
    """
    images = [
        JobImage(
            seed=image.recipe.seed,
            condition=image.recipe.condition,
            steps=image.recipe.steps,
            recipe=image.recipe,
            **_changes(view.name, index, image),
        )
        for index, image in enumerate(view.images)
    ]
    return JobAnswer(images=images, **_standing(view, ahead))


def job_changes(told: JobView, view: JobView, ahead: int) -> JobChanges:
    """What is new of a job.

    Args:
        told: what is known of it.
        view: where it stands.
        ahead: images before it.
    """
    images = [
        ImageChanges(**_changes(view.name, index, image, since=known.step))
        for index, (known, image) in enumerate(zip(told.images, view.images, strict=True))
        if image is not known
    ]
    return JobChanges(images=images, **_standing(view, ahead))


async def base64_png(pixels: Pixels, recipe: Recipe | None = None) -> str:
    """An image, with its recipe inside where there is one."""
    return b64encode(await run_in_threadpool(png_of, pixels, recipe)).decode()


def size_of(pixels: Pixels) -> str:
    """Of an image, as OpenAI writes it."""
    height, width = pixels.shape[:2]
    return size_name((width, height))


def job_path(name: str) -> str:
    """Where a job is found."""
    return f"/v1/jobs/{name}"


def image_path(name: str, index: int) -> str:
    """Where an image of a job is found."""
    return f"{job_path(name)}/images/{index}.png"


def _standing(view: JobView, ahead: int) -> dict[str, Any]:
    return {
        "id": view.name,
        "state": view.state,
        "reason": view.reason,
        "ahead": ahead,
        "created_at": view.created_at,
        "queued_s": view.queued_s,
        "seconds": view.seconds,
    }


def _changes(name: str, index: int, image: ImageView, since: int = 0) -> dict[str, Any]:
    preview = f"{job_path(name)}/previews/{index}.png?step={image.preview_step}"
    return {
        "index": index,
        "step": image.step,
        "weights": [[round(weight, 4) for weight in step] for step in image.weights[since:]],
        "url": None if image.image is None else image_path(name, index),
        "preview_url": None if image.preview is None else preview,
        "preview_step": image.preview_step,
        "without": list(image.recipe.without),
    }
