"""The name of a run, which tells its orchestrators and islands from those of any other."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress

from atoll import layout
from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import BlobDamaged, BlobExists
from atoll.rendezvous import place_of
from orchestrator.endpoint import adopt, identity
from orchestrator.storage.urls import is_shared


def name_of(config: Config) -> str:
    """A run's name. A copy of the run has another.

    With a database of this machine, its state folder holds it. Where the database is shared, so is
    the name: whoever asks first, on whatever machine, puts it into the run's store.

    Raises:
        BlobError: the store cannot be used, or holds no name where it should.
    """
    folder = layout.state_folder(config.run.uri)
    folder.mkdir(parents=True, exist_ok=True)
    if not config.orchestrator.database or not is_shared(config.orchestrator.database):
        return identity(folder)
    blobs = open_store(config.run.uri)
    key = layout.run_name(hashlib.sha256(place_of(config.run.uri).encode()).hexdigest())
    if not blobs.exists(key):
        with suppress(BlobExists):
            blobs.put_bytes(key, identity(folder).encode())
    try:
        name = uuid.UUID(blobs.get_bytes(key).decode()).hex
    except ValueError as error:
        raise BlobDamaged(
            f"{key} in {config.run.uri} holds no name; restore it, or delete it and give the run a "
            "new database"
        ) from error
    return adopt(folder, name)
