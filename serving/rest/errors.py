"""Refusals in OpenAI's shape, so that its clients tell their users what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from atoll.errors import BadInput, Busy, NotFound
from serving.rest.desk import desk_of

_CODES = {
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "not_found"),
    410: ("invalid_request_error", "cancelled"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "job_failed"),
    503: ("server_error", "unavailable"),
}


class Problem(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """An answer that is none."""

    error: Problem


REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "refused"},
    "5XX": {"model": ErrorAnswer, "description": "failed, or not now"},
}


def problem(status: int, message: str, param: str | None = None) -> ErrorAnswer:
    """What is told for a status of HTTP."""
    kind, code = _CODES.get(status, ("invalid_request_error", None))
    return ErrorAnswer(error=Problem(message=message, type=kind, param=param, code=code))


def answer_errors(app: FastAPI) -> None:
    """Have an application answer every error so."""

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"][1:] if part != "class_"]
        param = ".".join(place) or None
        what = "the body" if param is None or first["type"] == "json_invalid" else param
        return _refused(400, f"{what}: {first['msg'].removeprefix('Value error, ')}", param)

    @app.exception_handler(HTTPException)
    async def _(_: Request, error: HTTPException) -> JSONResponse:
        return _refused(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(BadInput)
    async def _(_: Request, error: BadInput) -> JSONResponse:
        return _refused(400, str(error))

    @app.exception_handler(NotFound)
    async def _(_: Request, error: NotFound) -> JSONResponse:
        return _refused(404, str(error))

    @app.exception_handler(Busy)
    async def _(request: Request, error: Busy) -> JSONResponse:
        desk = await desk_of(request)
        status = 429 if desk.service.is_ready else 503
        return _refused(status, str(error), headers={"Retry-After": "1"})


def _refused(
    status: int,
    message: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    return JSONResponse(problem(status, message, param).model_dump(), status, headers)
