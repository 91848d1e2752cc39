"""The dashboard of an orchestrator, from its start to its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import BadInput
from orchestrator.service import FleetService
from orchestrator.web.site import Site, start_web

log = logging.getLogger(__name__)


@contextlib.contextmanager
def dashboard(
    config: Config, service: FleetService, registry: CollectorRegistry, *, needed: bool
) -> Iterator[None]:
    """Inside, the dashboard is served, if the configuration asks for one.

    Args:
        config: of the run; ``orchestrator.web`` says where.
        service: the fleet.
        registry: what ``/metrics`` tells.
        needed: whether to end where it cannot be served. Of several orchestrators of a run a leader
            that froze still holds the port, and to lead matters more than to be looked at.

    Raises:
        BadInput: the port is in use, and it is needed.
    """
    if not config.orchestrator.web:
        yield
        return
    site = Site(service, open_store(config.run.uri), registry, config.run.uri)
    try:
        server, url = start_web(site, config.orchestrator.web)
    except BadInput as error:
        if needed:
            raise
        log.warning("no dashboard", extra={"fields": {"error": str(error)}})
        yield
        return
    log.info("dashboard", extra={"fields": {"url": url}})
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
