"""``/v1/editions``: generations of checkpoints, and an operator's word on who gets requests."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel

from serving.rest.access import OwnerDep
from serving.rest.desk import DeskDep
from serving.rest.errors import REFUSALS
from serving.service.editions import State
from serving.service.service import Service

router = APIRouter(prefix="/v1/editions", responses=REFUSALS, tags=["editions"])

_OPERATOR = "operator"  # name of the key


class EditionAnswer(BaseModel):
    """A generation of checkpoints."""

    name: str
    state: State
    checkpoints: dict[str, str]
    orders: int
    done: int
    failed: int


class EditionsAnswer(BaseModel):
    """All there are, the newest last."""

    data: list[EditionAnswer]


async def operator_of(owner: OwnerDep, desk: DeskDep) -> str:
    """Who may say which edition is served. Raises: HTTPException for anyone else."""
    if desk.is_guarded and owner != _OPERATOR:
        raise HTTPException(
            403, f"this is for the key named {_OPERATOR!r}; `atoll key FILE {_OPERATOR}` makes it"
        )
    return owner


OperatorDep = Annotated[str, Depends(operator_of)]


@router.get("")
async def editions(desk: DeskDep, _: OwnerDep) -> EditionsAnswer:
    """Which editions there are."""
    return _answer(desk.service)


@router.post("/{name}/promote")
async def promote(name: str, desk: DeskDep, _: OperatorDep) -> EditionsAnswer:
    """Give a canary all new requests."""
    desk.service.promote(name)
    return _answer(desk.service)


@router.post("/{name}/rollback")
async def rollback(name: str, desk: DeskDep, _: OperatorDep) -> EditionsAnswer:
    """Give an edition no new requests; the one before it gets them."""
    desk.service.roll_back(name)
    return _answer(desk.service)


def _answer(service: Service) -> EditionsAnswer:
    return EditionsAnswer(
        data=[
            EditionAnswer(
                name=view.name,
                state=view.state,
                checkpoints=dict(view.checkpoints),
                orders=view.orders,
                done=view.done,
                failed=view.failed,
            )
            for view in service.editions()
        ]
    )
