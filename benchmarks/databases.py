"""Throw-away databases of the kinds a run may be kept in."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from orchestrator.storage.urls import sqlite_url

KINDS = ("sqlite", "postgres")
_SCRIPT = Path(__file__).parents[1] / "scripts" / "postgres"


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Inside, an empty database; its URL. A PostgreSQL is served by scripts/postgres."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield sqlite_url(Path(folder) / "orchestrator.db")
        else:
            with _postgres() as url:
                yield url


@contextmanager
def _postgres() -> Iterator[str]:
    os.environ["PGPASSWORD"] = secrets.token_hex(8)  # as a user gives it
    # Not below a folder of ours: the server runs as another user, who may not go in there.
    folder = tempfile.mkdtemp(prefix="atoll-postgres-")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [_SCRIPT, "run", folder, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"postgresql+psycopg://atoll@127.0.0.1:{port}/postgres"
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    engine = sa.create_engine(url)
    while server.poll() is None:
        try:
            engine.connect().close()
        except OperationalError:
            time.sleep(0.1)
        else:
            engine.dispose()
            return
    raise SystemExit("PostgreSQL did not start; as root, run scripts/postgres install")
