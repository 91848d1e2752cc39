"""The note of :mod:`atoll.rendezvous`, from the side of who writes it."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from atoll import layout
from atoll.blobs import BlobStore, local_path
from atoll.config import Config
from atoll.errors import AtollError, BadInput
from atoll.outward import outward
from atoll.passwords import hidden
from atoll.rendezvous import Rendezvous, place_of
from orchestrator.storage.urls import DATABASE, database_url, is_shared

log = logging.getLogger(__name__)

_KEEP_S = 10.0
_LEAVE_S = 5.0


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


def refuse_served_elsewhere(uri: str) -> None:
    """Refuse to begin beside another orchestrator whose database this one cannot see.

    A folder brings its database and its lock along, wherever it is mounted; a bucket does not.

    Raises:
        BadInput: an orchestrator serves the run elsewhere, or was killed there.
        BlobError: the store cannot be read.
    """
    note = None if local_path(uri) is not None else Rendezvous.read(uri)
    if note is not None and note.address and not note.is_from(uri):
        raise BadInput(
            f"{uri} is served from {note.host}, with its state in {note.folder}; give the command "
            "there, or keep the run in PostgreSQL (orchestrator.database). If that orchestrator is "
            f"gone for good, delete {layout.ORCHESTRATOR} in the run's store"
        )


def refuse_other_database(uri: str, database: str, *, default: bool) -> None:
    """Refuse to begin anew beside what the run's orchestrators wrote down in another database.

    Of PostgreSQL the database itself knows whose it is, under whatever address.

    Args:
        uri: of the run.
        database: as it may be told to others.
        default: whether it is the one in the run's own folder, which may have been moved.

    Raises:
        BadInput: there is another one.
        BlobError: the store cannot be read.
    """
    note = Rendezvous.read(uri)
    if note is None or note.database == database:
        return
    was_default = not is_shared(note.database) and note.database.endswith(f"/{DATABASE}")
    both_shared = is_shared(note.database) and is_shared(database)
    if not both_shared and not (default and was_default):
        raise BadInput(
            f"orchestrator.database: what happened in {uri} is written down in {note.database}, "
            f"and this is another; set it back, or delete {layout.ORCHESTRATOR} in the run's store "
            "to begin with an empty one"
        )


def rendezvous_of(config: Config, run: str, address: str, database: str) -> Rendezvous:
    """The note of an orchestrator that begins to serve.

    Args:
        config: of the run.
        run: its name.
        address: at which this machine calls it.
        database: as it may be told to others.
    """
    folder = layout.state_folder(config.run.uri)
    return Rendezvous(
        address=outward(config.orchestrator, address),
        run=run,
        secured=bool(config.orchestrator.tls),
        host=socket.gethostname(),
        folder=str(folder.resolve()),
        database=database,
        place=place_of(config.run.uri),
    )


@contextmanager
def noted(store: BlobStore, note: Rendezvous, confirm: Callable[[], None]) -> Iterator[None]:
    """Inside, the note stands in the store; afterwards it says that the orchestrator has left.

    A store that cannot be written to holds up nobody.

    Args:
        store: of the run.
        note: what to say.
        confirm: raises an error where another orchestrator may speak by now.
    """
    left = threading.Event()

    def keep() -> None:
        while True:
            _write(store, note, confirm)
            if left.wait(_KEEP_S):
                break
        if _stands(store, note):
            _write(store, replace(note, address=""), confirm)

    keeping = threading.Thread(target=keep, name="rendezvous", daemon=True)
    keeping.start()
    try:
        yield
    finally:
        left.set()
        keeping.join(_LEAVE_S)


def _write(store: BlobStore, note: Rendezvous, confirm: Callable[[], None]) -> None:
    try:
        confirm()
        if not _stands(store, note):
            store.publish(layout.ORCHESTRATOR, json.dumps(asdict(note)).encode())
    except AtollError as error:
        log.warning("operators elsewhere are not told", extra={"fields": {"error": str(error)}})


def _stands(store: BlobStore, note: Rendezvous) -> bool:
    try:
        return bool(json.loads(store.get_bytes(layout.ORCHESTRATOR)) == asdict(note))
    except (AtollError, ValueError):
        return False
