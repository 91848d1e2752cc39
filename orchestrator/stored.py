"""What the orchestrators of a run wrote down, for who looks while none serves, or beside one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from atoll import layout
from atoll.clock import SystemClock
from atoll.config import Config
from atoll.errors import BlobError, StageMissing
from atoll.passwords import hidden
from atoll.types import Event
from atoll.views import FleetView
from orchestrator.fleet.jobs import Jobs
from orchestrator.fleet.ledger import Ledger
from orchestrator.fleet.state import Fleet
from orchestrator.rendezvous import Rendezvous, refuse_other_database, refuse_served_elsewhere
from orchestrator.settings import fleet_policy
from orchestrator.storage.database import DATABASE, is_shared, sqlite_url
from orchestrator.storage.sql_store import SqlStore


def database_url(config: Config) -> str:
    """The run's database: SQLite in its state folder unless configured."""
    return config.orchestrator.database or sqlite_url(_default_database(config))


def refuse_other_place(config: Config) -> None:
    """Refuse to begin where another orchestrator serves the run, or wrote down its state elsewhere.

    Raises:
        BadInput: one does, or did.
        BlobError: the run's store cannot be read.
    """
    url, uri = database_url(config), config.run.uri
    if not is_shared(url):
        refuse_served_elsewhere(uri)
    refuse_other_database(uri, hidden(url), default=not config.orchestrator.database)


@contextlib.contextmanager
def stored(config: Config) -> Iterator[SqlStore]:
    """What the orchestrators of a run wrote down; it can be read beside a living one.

    Raises:
        StageMissing: the run never had one.
    """
    if not config.orchestrator.database:
        _refuse_absent(config)
    store = SqlStore(database_url(config))
    try:
        yield store
    finally:
        store.close()


def stored_view(config: Config) -> FleetView:
    """The fleet as the last orchestrator of a run wrote it down.

    Raises:
        StageMissing: the run never had one.
    """
    with stored(config) as store:
        loaded = store.load()
    view = Fleet(fleet_policy(config), Jobs().updated(loaded.jobs)).view(now=0.0)
    spent = Ledger().after(loaded.nodes).spent(SystemClock().wall())
    return replace(view, last_event=loaded.last_event, **asdict(spent))


def stored_events(config: Config, after: int, limit: int) -> tuple[Event, ...]:
    """Some events with a number above ``after``, as the orchestrators of a run wrote them down.

    Raises:
        StageMissing: the run never had one.
    """
    with stored(config) as store:
        return store.events(after, limit)


def _refuse_absent(config: Config) -> None:
    """Refuse where the run has no database on this machine; one that is shared may be elsewhere.

    Raises:
        StageMissing: it never had one, or has it on another machine.
    """
    with contextlib.suppress(BlobError):
        note = Rendezvous.read(config.run.uri)
        if note is not None and not note.is_from(config.run.uri):
            raise StageMissing(
                f"what happened in {config.run.uri} is written down on {note.host}, in "
                f"{note.database}; ask there, or while an orchestrator serves"
            )
    if not _default_database(config).exists():
        raise StageMissing(f"nothing was trained in {config.run.uri} yet; run `atoll train`")


def _default_database(config: Config) -> Path:
    return layout.state_folder(config.run.uri) / DATABASE
