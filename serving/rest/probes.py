"""``/healthz``, ``/readyz`` and ``/metrics``: for who starts services, and sends callers there."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from serving.rest.access import OwnerDep
from serving.rest.desk import DeskDep
from serving.rest.errors import REFUSALS

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


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "its numbers"}, **REFUSALS},
)
async def metrics(desk: DeskDep, _: OwnerDep) -> Response:
    """What Prometheus reads; by a key, where those are asked for."""
    return Response(desk.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _probe(response: Response, ok: bool) -> Probe:
    response.status_code = 200 if ok else 503
    return Probe(ok=ok)
