"""What the orchestrators of a run wrote down, for who looks while none serves, or beside one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from atoll.clock import SystemClock
from atoll.config import Config
from atoll.errors import BlobError, StageMissing
from atoll.rendezvous import Rendezvous
from atoll.types import Event
from atoll.views import FleetView
from orchestrator.fleet.jobs import Jobs
from orchestrator.fleet.ledger import Ledger
from orchestrator.fleet.state import Fleet
from orchestrator.settings import budget_of, fleet_policy
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import database_url, default_database, is_shared


@contextlib.contextmanager
def stored(config: Config) -> Iterator[SqlStore]:
    """What the orchestrators of a run wrote down; it can be read beside a living one.

    Raises:
        StageMissing: the run never had one.
    """
    database = config.orchestrator.database
    if not database:
        _refuse_absent(config)
    elif not is_shared(database) and not Path(database.removeprefix("sqlite:///")).exists():
        raise StageMissing(f"nothing was written down in {database} yet; run `atoll train`")
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
    limits = budget_of(config).view
    return replace(view, last_event=loaded.last_event, budget=limits, **asdict(spent))


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
    if not default_database(config).exists():
        raise StageMissing(
            f"nothing was trained in {config.run.uri} yet; run `atoll train`, or name another run "
            "by --config FILE or --set run.uri=URI"
        )
