"""``/v1/models``: the one model there is, and what can be asked of it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from atoll.image_size import size_name
from atoll.strategies import STRATEGIES
from serving.engine.tableau import TABLEAUX
from serving.rest.access import OwnerDep
from serving.rest.desk import Desk, DeskDep
from serving.rest.errors import REFUSALS
from serving.service.menu import MOST_GUIDANCE, Menu

router = APIRouter(prefix="/v1/models", responses=REFUSALS, tags=["models"])


class Defaults(BaseModel):
    """What a request leaves open."""

    steps: int
    guidance: float
    strategy: str
    solver: str


class Limits(BaseModel):
    """Of one request, and of all that one caller has in the queue."""

    images: int
    steps: int
    guidance: float
    queue: int


class About(BaseModel):
    """What can be asked of the ensemble."""

    condition: Literal["none", "class", "text"]
    classes: list[str] | None
    width: int
    height: int
    sizes: list[str] = Field(description="that can be asked for; the first is width and height")
    channels: int
    num_experts: int
    solvers: list[str]
    strategies: list[str]
    defaults: Defaults
    limits: Limits
    checkpoints: dict[str, str]
    edition: str


class Model(BaseModel):
    """A model, as OpenAI's client takes it, and what is Atoll's own."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["atoll"] = "atoll"
    atoll: About


class Models(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("")
async def models(desk: DeskDep, _: OwnerDep) -> Models:
    """The models there are: one."""
    return Models(data=[_model(desk)])


@router.get("/{name}")
async def model(name: str, desk: DeskDep, _: OwnerDep) -> Model:
    """What can be asked of a model."""
    desk.refuse_other(name)
    return _model(desk)


def _model(desk: Desk) -> Model:
    edition = desk.service.edition
    about = _about(edition.menu, edition.name)
    return Model(id=desk.model, created=int(desk.opened_at), atoll=about)


def _about(menu: Menu, edition: str) -> About:
    channels, height, width = menu.shape
    kind, defaults, limits = menu.conditioning.kind, menu.defaults, menu.limits
    return About(
        condition=kind,
        classes=list(menu.class_names) if kind == "class" else None,
        width=width,
        height=height,
        sizes=list(map(size_name, menu.sizes)),
        channels=channels,
        num_experts=menu.num_experts,
        solvers=list(TABLEAUX),
        strategies=list(STRATEGIES),
        defaults=Defaults(
            steps=defaults.steps,
            guidance=defaults.guidance,
            strategy=defaults.strategy,
            solver=defaults.solver,
        ),
        limits=Limits(
            images=menu.most_images,
            steps=menu.most_steps,
            guidance=MOST_GUIDANCE,
            queue=limits.max_queue_of_one,
        ),
        checkpoints=dict(menu.checkpoints),
        edition=edition,
    )
