"""``/v1/experts``: where experts are served, and where another server is worth it."""

from __future__ import annotations

import math

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.remote.usage import Use
from serving.rest.access import OwnerDep
from serving.rest.desk import DeskDep
from serving.rest.errors import REFUSALS

router = APIRouter(prefix="/v1/experts", responses=REFUSALS, tags=["experts"])


class ExpertAnswer(BaseModel):
    """One expert that is served elsewhere."""

    expert: int
    servers: int = Field(description="that may be asked about it now")
    checkpoints: dict[str, int] = Field(description="how many of them have which, by its digest")
    rows_per_s: float = Field(
        description="that it was asked about, over the last minute, those in vain with them"
    )
    busy: float | None = Field(description="servers that these rows keep busy; null = not measured")
    wanted: int = Field(
        description="servers of its own with which none is busy for over 60% of its time"
    )


class ExpertsAnswer(BaseModel):
    """All of them; none where the service holds its experts itself."""

    data: list[ExpertAnswer]


@router.get("")
async def experts(desk: DeskDep, _: OwnerDep) -> ExpertsAnswer:
    """Where experts are served."""
    table = [] if desk.usage is None else desk.usage.table()
    return ExpertsAnswer(data=list(map(_answer, table)))


def _answer(use: Use) -> ExpertAnswer:
    return ExpertAnswer(
        expert=use.expert,
        servers=use.servers,
        checkpoints=dict(use.checkpoints),
        rows_per_s=round(use.rows_per_s, 2),
        busy=None if math.isnan(use.busy) else round(use.busy, 3),
        wanted=use.wanted,
    )
