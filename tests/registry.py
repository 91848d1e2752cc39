"""An orchestrator's server with a registry, and the note by which others find it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from atoll import layout
from atoll.blobs import open_store
from atoll.clock import SystemClock
from atoll.config_file import read_config
from atoll.rendezvous import Rendezvous, place_of
from orchestrator.fleet.state import Policy
from orchestrator.rpc.security import secured
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import sqlite_url


@contextmanager
def orchestrator(uri: Path, tls: Path | None = None, run: str = "run") -> Iterator[FleetService]:
    """Inside, an orchestrator of the run in this folder serves; afterwards its note says nothing.

    Args:
        uri: folder of the run.
        tls: folder of certificates; None for plain text.
        run: name of the run.
    """
    uri.mkdir(exist_ok=True)
    store = SqlStore(sqlite_url(uri / "orchestrator.db"))
    service = FleetService(store, Policy(10.0, 2, 1.0), SystemClock())
    config = read_config(None, [f"run.uri={uri}", f"orchestrator.tls={tls or ''}"])
    security = secured(config, run, SystemClock(), store.claim)
    server, address = start_server(service, "127.0.0.1:0", run, security)
    note(uri, address, run, is_secured=tls is not None)
    try:
        yield service
    finally:
        note(uri, "", run, is_secured=tls is not None)
        server.stop(grace=None).wait()
        store.close()


def note(uri: Path, address: str, run: str = "run", *, is_secured: bool = False) -> None:
    """Have the run's store say where its orchestrator is."""
    told = Rendezvous(
        address, run, is_secured, socket.gethostname(), str(uri), "", place_of(str(uri))
    )
    open_store(str(uri)).publish(layout.ORCHESTRATOR, json.dumps(asdict(told)).encode())
