"""``/v1/images/…png``: an image by the ``url`` of an answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from serving.rest.access import refuse_foreign
from serving.rest.desk import DeskDep
from serving.rest.errors import REFUSALS
from serving.rest.png import KEPT, PNG, Index, image_of, png_answer
from serving.service.job import Job

router = APIRouter(
    prefix="/v1/images",
    responses=REFUSALS,
    tags=["images"],
    dependencies=[Depends(refuse_foreign)],
)


async def linked_job(link: str, desk: DeskDep) -> Job:
    """The job that a link leads to."""
    return desk.links.job(link)


@router.get("/{link}/{index}.png", response_class=Response, responses=PNG)
def fetch(job: Annotated[Job, Depends(linked_job)], index: Index) -> Response:
    """An image by the `url` of an answer, without a key, with its recipe inside."""
    image = image_of(job.view(), index)
    return png_answer(image.image, image.recipe, KEPT)
