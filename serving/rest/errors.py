"""Refusals in OpenAI's shape, so that its clients tell their users what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from atoll.errors import BadInput, NotFound
from serving.rest.desk import desk_of
from serving.service.job import JobView
from serving.service.order import Unusable

_CODES = {
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "not_found"),
    410: ("invalid_request_error", "cancelled"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "failed"),
    503: ("server_error", "unavailable"),
    504: ("server_error", "deadline_exceeded"),
}

_WORDS = {  # for pydantic's kinds of errors whose own do not say what to do
    "extra_forbidden": "there is no such field; GET /openapi.json lists those there are",
    "json_invalid": "it is no JSON",
    "missing": "it is missing",
    "model_attributes_type": "it should be an object of JSON, {...}",
    "string_pattern_mismatch": 'it should be WIDTHxHEIGHT or "auto"',
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


def problem_of(view: JobView) -> ErrorAnswer:
    """What is told of a job without a result."""
    return _problem(status_of(view), view.reason)


def status_of(view: JobView) -> int:
    """The status of HTTP for a job without a result."""
    if view.state == "cancelled":
        return 410
    if view.is_given_up or view.is_without:
        return 503
    return 504 if view.is_late else 500


def refused(
    status: int,
    message: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An answer that is none.

    Args:
        status: of HTTP.
        message: what is wrong, and the mend.
        param: field of the body because of which; None for none.
        headers: to be sent with it.
    """
    return JSONResponse(_problem(status, message, param).model_dump(), status, headers)


def answer_errors(app: FastAPI) -> None:
    """Have an application answer every error so."""

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        (await desk_of(request)).metrics.refused("unusable")
        first = error.errors()[0]
        if first["loc"] == ("body",) and not _is_json(request):
            return refused(400, "send JSON, and say so: Content-Type: application/json")
        place = () if first["type"] == "json_invalid" else first["loc"][1:2]
        param = str(place[0]) if place else None
        what = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        what = _WORDS.get(first["type"], what)
        return refused(400, f"{param or 'the body'}: {what}", param)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        what, path = str(error.detail), request.url.path
        if what == HTTPStatus.NOT_FOUND.phrase:  # nobody has said more
            what = f"nothing is at {path}; GET /openapi.json tells what there is"
        if error.status_code == HTTPStatus.BAD_REQUEST:  # nested deeper than anything here
            what = "the body: it is no JSON that can be read"
        if what == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
            allowed = (error.headers or {}).get("Allow", "other methods")
            what = f"{path} is not for {request.method}; it takes {allowed}"
        return refused(error.status_code, what, headers=error.headers)

    @app.exception_handler(BadInput)
    async def _(request: Request, error: BadInput) -> JSONResponse:
        (await desk_of(request)).metrics.refused("unusable")
        return refused(400, str(error), error.field if isinstance(error, Unusable) else None)

    @app.exception_handler(Exception)
    async def _(_: Request, __: Exception) -> JSONResponse:
        return refused(500, "something is broken here; the log of the service says what")

    @app.exception_handler(NotFound)
    async def _(_: Request, error: NotFound) -> JSONResponse:
        return refused(404, str(error))


def _is_json(request: Request) -> bool:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _problem(status: int, message: str, param: str | None = None) -> ErrorAnswer:
    kind, code = _CODES.get(status, ("invalid_request_error", None))
    return ErrorAnswer(error=Problem(message=message, type=kind, param=param, code=code))
