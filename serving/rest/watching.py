"""A job as events: whole at first and at its end, and between them what is new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from serving.rest.answers import job_answer, job_changes
from serving.rest.following import views_of
from serving.service.job import Job, JobView
from serving.service.service import Service

_LOOK_S = 1.0  # at those before a job that waits
_PAUSE_S = 0.05  # between two events: eyes see no more, and the engine needs the processor, too


async def events_of(service: Service, job: Job) -> AsyncIterator[ServerSentEvent]:
    """What a reader is told of a job from where it stands; a slow one skips some."""
    told: tuple[JobView, int] | None = None
    async for view in views_of(job, _LOOK_S):
        ahead = service.ahead_of(job)
        if told is None or view.is_over:
            yield _event("job", job_answer(view, ahead))
        elif (view.version, ahead) != (told[0].version, told[1]):
            yield _event("changes", job_changes(told[0], view, ahead))
        else:
            continue
        told = view, ahead
        await asyncio.sleep(_PAUSE_S)


def _event(name: str, data: BaseModel) -> ServerSentEvent:
    return ServerSentEvent(data.model_dump_json(), event=name)
