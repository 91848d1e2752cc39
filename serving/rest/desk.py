"""What every route works with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from atoll.errors import Busy
from atoll.rates import Rates
from serving.keys import OwnerOf
from serving.metrics import Metrics
from serving.remote.usage import Usage
from serving.rest.body import Generation
from serving.rest.links import Links
from serving.service.job import Job
from serving.service.order import Unusable
from serving.service.service import Service


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """Takes what callers ask for to the service.

    Attributes:
        service: draws.
        model: name that the ensemble goes by.
        opened_at: in seconds since the Unix epoch.
        owner_of: who shows an API key.
        is_guarded: whether one has to be shown.
        rates: how often one caller may ask for images; None for any number.
        metrics: are told of who is sent away.
        links: to images, for who has no key.
        usage: of experts elsewhere; None where the service holds them itself.
    """

    service: Service
    model: str
    opened_at: float
    owner_of: OwnerOf
    is_guarded: bool
    rates: Rates | None
    metrics: Metrics
    links: Links
    usage: Usage | None = None

    def order(self, wish: Generation, owner: str) -> Job:
        """Pass on what somebody asks for.

        Raises:
            Unusable: it cannot be had; names the field as the caller does.
            HTTPException: not now, or not of this model.
        """
        self.refuse_other(wish.model)
        self._refuse_hasty(owner)
        if not self.service.is_healthy:
            raise HTTPException(503, "it draws no more; the log of the service says why")
        order = wish.order()
        try:
            return self.service.order(order, owner)
        except Unusable as error:
            raise Unusable(str(error), wish.name_of(error.field)) from error
        except Busy as error:
            if not self.service.is_ready:
                raise HTTPException(503, str(error), {"Retry-After": "5"}) from error
            self.metrics.refused("busy")
            raise _later(str(error), self.service.room_in_s(order.num, owner)) from error

    def refuse_other(self, model: str | None) -> None:
        """Refuse a model of another name. Raises: HTTPException."""
        if model not in {None, self.model}:
            raise HTTPException(404, f"model {model!r} is not here; there is {self.model!r}")

    def _refuse_hasty(self, owner: str) -> None:
        wait_s = self.rates.wait_s(owner) if self.rates else 0.0
        if wait_s:
            self.metrics.refused("hasty")
            what = f"more than serving.requests_per_minute; ask again in {math.ceil(wait_s)} s"
            raise _later(what, wait_s)


async def desk_of(request: Request) -> Desk:
    """The desk of the application that a request came to."""
    desk: Desk = request.app.state.desk
    return desk


DeskDep = Annotated[Desk, Depends(desk_of)]


def _later(message: str, seconds: float) -> HTTPException:
    return HTTPException(429, message, {"Retry-After": str(math.ceil(seconds))})
