"""The web page: the files of ``serving/web``, as they are."""

from __future__ import annotations

from pathlib import Path

from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

_FOLDER = Path(__file__).parents[1] / "web"
_HEADERS = {
    "Cache-Control": "no-cache",  # asked for anew, so that it fits the service
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def page_routes() -> list[Route]:
    """One for each file, so that nothing is there at any other address; ``/`` is the page."""
    names = ["", *sorted(path.name for path in _FOLDER.iterdir())]
    return [Route(f"/{name}", _Files(), methods=["GET"], include_in_schema=False) for name in names]


class _Files(StaticFiles):
    """Needs no key; what the page calls does."""

    def __init__(self) -> None:
        """Serve the folder."""
        super().__init__(directory=_FOLDER, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, with what a browser must not do with it."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response
