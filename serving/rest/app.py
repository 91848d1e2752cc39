"""The service as an ASGI application."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from atoll import __version__
from atoll.clock import Clock, SystemClock
from serving.rest import generations, jobs, models, probes
from serving.rest.desk import Desk
from serving.rest.errors import answer_errors
from serving.service import Service

_PAGE = Path(__file__).parents[1] / "web"


def make_app(
    service: Service,
    *,
    model: str = "atoll",
    clock: Clock = SystemClock(),  # noqa: B008
) -> FastAPI:
    """Everything that is answered over HTTP.

    Args:
        service: draws.
        model: name that the ensemble goes by.
        clock: of its answers.
    """
    app = FastAPI(title="Atoll", version=__version__, docs_url=None, redoc_url=None)
    app.state.desk = Desk(service, model, clock.wall())
    answer_errors(app)
    for part in (generations, jobs, models, probes):
        app.include_router(part.router)
    if _PAGE.is_dir():
        app.mount("/", StaticFiles(directory=_PAGE, html=True))
    return app
