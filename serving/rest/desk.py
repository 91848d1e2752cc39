"""What every route works with, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from serving.job import Job
from serving.rest.body import Generation
from serving.service import Service

ANYONE = "anyone"  # where nobody has to show a key


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """The counter of the service.

    Attributes:
        service: draws.
        model: name that the ensemble goes by.
        opened_at: in seconds since the Unix epoch.
    """

    service: Service
    model: str
    opened_at: float

    def order(self, wish: Generation, owner: str) -> Job:
        """Pass on what somebody asks for.

        Raises:
            BadInput: it cannot be had.
            Busy: not now.
            HTTPException: another model is meant.
        """
        self.refuse_other(wish.model)
        return self.service.order(wish.order(), owner)

    def refuse_other(self, model: str | None) -> None:
        """Refuse a model of another name. Raises: HTTPException."""
        if model not in {None, self.model}:
            raise HTTPException(404, f"model {model!r} is not here; there is {self.model!r}")

    def abandon(self, job: Job) -> None:
        """Nobody waits for a job any more."""
        if not job.view().is_over:
            self.service.cancel(job.name, job.owner)


async def desk_of(request: Request) -> Desk:
    """The desk of the application that a request came to."""
    desk: Desk = request.app.state.desk
    return desk


async def owner_of() -> str:
    """Who asks."""
    return ANYONE


DeskDep = Annotated[Desk, Depends(desk_of)]
OwnerDep = Annotated[str, Depends(owner_of)]
