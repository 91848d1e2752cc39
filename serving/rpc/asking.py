"""The service's words on the wire: what is asked for, and what can be."""

from __future__ import annotations

from typing import Any

from atoll.errors import BadInput
from atoll.strategies import STRATEGIES
from atoll.wire.v1 import images_pb2 as wire
from serving.engine.tableau import TABLEAUX
from serving.service.edition import Edition
from serving.service.menu import MOST_GUIDANCE
from serving.service.order import Order, Priority

_PRIORITIES: dict[Any, Priority] = {
    wire.PRIORITY_UNSPECIFIED: "normal",
    wire.PRIORITY_HIGH: "high",
    wire.PRIORITY_NORMAL: "normal",
    wire.PRIORITY_LOW: "low",
}


def order_of(request: wire.GenerateRequest) -> Order:
    """What is asked for.

    Raises:
        BadInput: the priority is of a newer version.
    """
    if request.priority not in _PRIORITIES:
        raise BadInput(f"priority {request.priority} is not known; give high, normal or low")

    def given(field: str) -> Any:
        return getattr(request, field) if request.HasField(field) else None

    return Order(
        wanted=tuple(request.conditions),
        num=request.num if request.HasField("num") else 1,
        seed=given("seed"),
        size=(request.width, request.height) if request.width or request.height else None,
        solver=request.solver or None,
        steps=given("steps"),
        guidance=given("guidance"),
        strategy=request.strategy or None,
        previews=request.previews,
        priority=_PRIORITIES[request.priority],
        deadline_s=given("deadline_s"),
        exact=request.exact,
    )


def about(edition: Edition) -> wire.AboutResponse:
    """What can be asked for."""
    menu = edition.menu
    channels, height, width = menu.shape
    return wire.AboutResponse(
        edition=edition.name,
        condition=menu.conditioning.kind,
        class_names=menu.class_names if menu.conditioning.kind == "class" else (),
        width=width,
        height=height,
        channels=channels,
        num_experts=menu.num_experts,
        solvers=TABLEAUX,
        solver=menu.defaults.solver,
        steps=menu.defaults.steps,
        guidance=menu.defaults.guidance,
        strategy=menu.defaults.strategy,
        max_images=menu.most_images,
        max_steps=menu.most_steps,
        checkpoints=menu.checkpoints,
        strategies=STRATEGIES,
        max_guidance=MOST_GUIDANCE,
        max_queue=menu.limits.max_queue_of_one,
        sizes=[wire.ImageSize(width=each, height=other) for each, other in menu.sizes],
    )
