"""``/healthz`` and ``/readyz``: for whoever starts services and sends callers to them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from serving.rest.desk import DeskDep

router = APIRouter(tags=["probes"])


class Probe(BaseModel):
    """Whether all is well."""

    ok: bool


_NO: dict[int | str, dict[str, Any]] = {503: {"model": Probe, "description": "no"}}


@router.get("/healthz", responses=_NO)
async def healthz(response: Response, desk: DeskDep) -> Probe:
    """Whether it draws; if not, it has to be started anew."""
    return _probe(response, desk.service.is_healthy)


@router.get("/readyz", responses=_NO)
async def readyz(response: Response, desk: DeskDep) -> Probe:
    """Whether it takes requests; not while it leaves."""
    return _probe(response, desk.service.is_ready)


def _probe(response: Response, ok: bool) -> Probe:
    response.status_code = 200 if ok else 503
    return Probe(ok=ok)
