"""Who asks: by the API key that is shown, or, on this machine, anyone."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from atoll.errors import Forbidden
from serving.rest.desk import DeskDep

_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
_BEARER = HTTPBearer(auto_error=False, description="an API key, see `atoll key`")

ShownDep = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


async def refuse_foreign(request: Request, desk: DeskDep) -> None:
    """Where nobody shows a key, refuse another site's page: its own name may lead here.

    Raises:
        HTTPException: it asked for another host than this machine.
    """
    if not desk.is_guarded and not _LOCAL.fullmatch(request.headers.get("Host", "")):
        raise HTTPException(403, "ask for localhost; elsewhere set serving.api_keys")


async def owner_of(
    _: Annotated[None, Depends(refuse_foreign)], shown: ShownDep, desk: DeskDep
) -> str:
    """The name of who asks. Raises: HTTPException for a stranger."""
    try:
        return desk.owner_of(shown.credentials if shown else "")
    except Forbidden as error:
        desk.metrics.refused("stranger")
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from error


OwnerDep = Annotated[str, Depends(owner_of)]
