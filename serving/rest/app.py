"""The service as an ASGI application."""

from __future__ import annotations

from fastapi import FastAPI

from atoll import __version__
from atoll.clock import Clock, SystemClock
from atoll.rates import Rates
from serving.keys import Keys, anyone
from serving.metrics import Metrics
from serving.remote.usage import Usage
from serving.rest import editions, experts, generations, jobs, linked, models, probes
from serving.rest.desk import Desk
from serving.rest.errors import answer_errors
from serving.rest.limits import BodyLimit
from serving.rest.links import Links
from serving.rest.page import page_routes
from serving.service.service import Service


def make_app(
    service: Service,
    *,
    model: str = "atoll",
    keys: Keys | None = None,
    rates: Rates | None = None,
    metrics: Metrics | None = None,
    usage: Usage | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """Everything that is answered over HTTP.

    Args:
        service: draws.
        model: name that the ensemble goes by.
        keys: of who may call; None for anyone on this machine.
        rates: how often one caller may ask for images; None for any number.
        metrics: what ``/metrics`` tells, of the service and its engines; None for new ones.
        usage: of experts elsewhere; None where the service holds them itself.
        clock: dates the model.
    """
    app = FastAPI(title="Atoll", version=__version__, docs_url=None, redoc_url=None)
    app.state.desk = Desk(
        service=service,
        model=model,
        opened_at=(clock or SystemClock()).wall(),
        owner_of=keys.owner_of if keys else anyone,
        is_guarded=keys is not None,
        rates=rates,
        metrics=metrics or Metrics(),
        links=Links(service),
        usage=usage,
    )
    answer_errors(app)
    app.add_middleware(BodyLimit)
    for part in (generations, linked, jobs, models, editions, experts, probes):
        app.include_router(part.router)
    app.router.routes += page_routes()
    return app
