"""``/v1/jobs``: images that are fetched when they are there, and can be watched meanwhile."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.concurrency import run_in_threadpool

from serving.rest.access import OwnerDep
from serving.rest.answers import JobAnswer, job_answer, job_path
from serving.rest.body import Generation
from serving.rest.desk import DeskDep
from serving.rest.errors import REFUSALS, status_of
from serving.rest.events import Events
from serving.rest.png import KEPT, PNG, Index, image_of, png_answer
from serving.rest.watching import events_of
from serving.service.job import Job
from serving.service.service import Service

router = APIRouter(prefix="/v1/jobs", responses=REFUSALS, tags=["jobs"])


async def job_of(job_id: str, desk: DeskDep, owner: OwnerDep) -> Job:
    """The job in the path, if it is the caller's."""
    return desk.service.job(job_id, owner)


JobDep = Annotated[Job, Depends(job_of)]


@router.post("", status_code=202)
async def accept(wish: Generation, response: Response, desk: DeskDep, owner: OwnerDep) -> JobAnswer:
    """Ask for images, and come back for them."""
    job = await run_in_threadpool(desk.order, wish, owner)
    response.headers["Location"] = job_path(job.name)
    return _told(desk.service, job)


@router.get("/{job_id}")
async def look(job: JobDep, desk: DeskDep) -> JobAnswer:
    """Where a job stands."""
    return _told(desk.service, job)


@router.delete("/{job_id}")
async def cancel(job: JobDep, desk: DeskDep) -> JobAnswer:
    """Draw the images of a job no further; one that is over stays as it is."""
    desk.service.cancel(job.name, job.owner)
    return _told(desk.service, job)


@router.get(
    "/{job_id}/events",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}, "description": "its changes"}},
)
async def follow(job: JobDep, desk: DeskDep) -> Events:
    """Where a job stands, at every change until its end; a slow reader skips some.

    The first event and the one at its end are named `job`; their data is the answer of
    `/v1/jobs/{job_id}`. Those between are named `changes`: of its images they have those that have
    changed, without `seed`, `condition`, `steps` and `recipe`, which do not change; `weights` are
    those of the steps since the last event, to be appended to what is known. All else is whole.
    """
    return Events(events_of(desk.service, job))


@router.get("/{job_id}/images/{index}.png", response_class=Response, responses=PNG)
def image(job: JobDep, index: Index) -> Response:
    """A finished image, with its recipe inside."""
    view = job.view()
    found = image_of(view, index)
    if found.image is None and view.is_over:
        raise HTTPException(status_of(view), view.reason)
    return png_answer(found.image, found.recipe, KEPT)


@router.get("/{job_id}/previews/{index}.png", response_class=Response, responses=PNG)
def preview(job: JobDep, index: Index) -> Response:
    """What an image would become from here; once it is finished, that is itself."""
    found = image_of(job.view(), index)
    return png_answer(found.preview if found.image is None else found.image, None, "no-store")


def _told(service: Service, job: Job) -> JobAnswer:
    return job_answer(job.view(), service.ahead_of(job))
