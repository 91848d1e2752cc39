"""An image of a job, as a PNG."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import HTTPException, Path, Response

from router.recipe import Recipe, png_of
from serving.service.job import ImageView, JobView, Pixels

PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "the image"}
}
KEPT = "private, max-age=31536000, immutable"

Index = Annotated[int, Path(ge=0)]


def image_of(view: JobView, index: int) -> ImageView:
    """One of a job's images. Raises: HTTPException, it has fewer."""
    if index >= len(view.images):
        raise HTTPException(404, f"this job has {len(view.images)} images, counted from 0")
    return view.images[index]


def png_answer(pixels: Pixels | None, recipe: Recipe | None, caching: str) -> Response:
    """A PNG.

    Args:
        pixels: of the image; None while there are none.
        recipe: is written into it; None for none.
        caching: what HTTP's ``Cache-Control`` says.

    Raises:
        HTTPException: there are no pixels.
    """
    if pixels is None:
        raise HTTPException(404, "it is not there yet")
    headers = {"Cache-Control": caching}
    return Response(png_of(pixels, recipe), media_type="image/png", headers=headers)
