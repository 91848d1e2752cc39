"""The dashboard as a small WSGI application: read only, and for this machine's browsers alone."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import resources
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from atoll.address import split_address
from atoll.blobs import BlobStore
from atoll.errors import BlobError
from atoll.ports import taken
from orchestrator.fleet.stragglers import lagging
from orchestrator.service import FleetService

_EVENTS_AT_ONCE = 1000
_GRID = "grid.png"
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
]

Answer = tuple[str, str, bytes]  # status, type of content, body


class Site:
    """What is served of one fleet.

    Args:
        service: the fleet; looking at it does not count as somebody's wish to keep it.
        store: of the run, for the sample grids in its checkpoints.
        registry: what ``/metrics`` tells.
        title: of the page.
    """

    def __init__(
        self, service: FleetService, store: BlobStore, registry: CollectorRegistry, title: str
    ) -> None:
        self._service, self._store, self._registry = service, store, registry
        self._title = title
        self._routes: dict[str, Callable[[str], Answer]] = {
            "/": lambda _: _file("page.html", "text/html; charset=utf-8"),
            "/page.js": lambda _: _file("page.js", "text/javascript; charset=utf-8"),
            "/charts.js": lambda _: _file("charts.js", "text/javascript; charset=utf-8"),
            "/metrics": self._metrics,
            "/fleet.json": self._fleet,
            "/events.json": self._events,
            "/losses.json": self._losses,
        }

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """See PEP 3333."""
        status, kind, body = self._answer(environ)
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        # Another site's page in the same browser must not read this one under a name of its own.
        if not _LOCAL.fullmatch(environ.get("HTTP_HOST", "")):
            return _plain("403 Forbidden", "ask for localhost")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _plain("405 Method Not Allowed", "nothing can be changed here")
        path = environ.get("PATH_INFO", "")
        if path.startswith("/grids/"):
            return self._grid(path.removeprefix("/grids/"))
        route = self._routes.get(path)
        if route is None:
            return _plain("404 Not Found", "there is no such page")
        return route(environ.get("QUERY_STRING", ""))

    def _metrics(self, _: str) -> Answer:
        return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def _fleet(self, _: str) -> Answer:
        view = self._service.seen()
        slow = lagging(view.jobs)
        jobs = [
            {
                "name": job.spec.name,
                "state": job.state.value,
                "island": job.island,
                "step": job.progress.step,
                "steps": job.spec.steps,
                "loss": _finite(job.progress.loss),
                "samples_per_s": job.progress.samples_per_s,
                "mfu": _finite(job.progress.vitals.mfu),
                "held_out": _finite(job.progress.vitals.held_out),
                "checkpoint": job.checkpoint and asdict(job.checkpoint),
                "epoch": job.epoch,
                "lease_left_s": job.lease_left_s,
                "reason": job.reason,
                "lags": slow.get(job.spec.name),
            }
            for job in view.jobs
        ]
        islands = [asdict(island) for island in view.islands]
        return _json(
            {
                "run": self._title,
                "draining": view.draining,
                "now": self._service.wall(),
                "last_event": view.last_event,
                "node_hours": view.node_hours,
                "cost": view.cost,
                "budget": asdict(view.budget),
                "jobs": jobs,
                "islands": islands,
                "servers": [asdict(server) for server in view.servers],
            }
        )

    def _events(self, query: str) -> Answer:
        after = parse_qs(query).get("after", ["0"])[0]
        if not after.isascii() or not after.isdecimal():
            return _plain("400 Bad Request", "after has to be a number")
        events = self._service.stored_events(min(int(after), 2**62), _EVENTS_AT_ONCE)
        return _json([asdict(event) for event in events])

    def _losses(self, _: str) -> Answer:
        return _json(self._service.curves.all())

    def _grid(self, name: str) -> Answer:
        """The samples in a job's newest checkpoint; jobs are known by name, so no path is built."""
        jobs = {job.spec.name: job.checkpoint for job in self._service.seen().jobs}
        checkpoint = jobs.get(name)
        if checkpoint is not None:
            try:
                return "200 OK", "image/png", self._store.get_bytes(f"{checkpoint.key}/{_GRID}")
            except BlobError:
                pass  # not every checkpoint has one
        return _plain("404 Not Found", "no samples yet")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 30  # a caller that says nothing keeps no thread

    def log_message(self, *_: Any) -> None:
        """Who looks at a page is nobody's business."""


def start_web(site: Site, listen: str) -> tuple[WSGIServer, str]:
    """Serve a site from threads of its own.

    Args:
        site: what to serve.
        listen: ``host:port`` on loopback; port 0 takes any free one.

    Returns:
        The server, to shut down and close in the end, and where a browser finds it.

    Raises:
        BadInput: the port is in use.
    """
    host, port = split_address(listen)
    try:
        server = make_server(host, port, site, _Server, _Quiet)
    except OSError as error:
        raise taken(listen, "orchestrator.web") from error
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return server, f"http://{host}:{server.server_port}/"


def _file(name: str, kind: str) -> Answer:
    return "200 OK", kind, resources.files("orchestrator.web").joinpath(name).read_bytes()


def _json(tree: Any) -> Answer:
    return "200 OK", "application/json", json.dumps(tree).encode()


def _plain(status: str, words: str) -> Answer:
    return status, "text/plain; charset=utf-8", f"{words}\n".encode()


def _finite(number: float | None) -> float | None:
    """What JSON can say."""
    return number if number is not None and math.isfinite(number) else None
