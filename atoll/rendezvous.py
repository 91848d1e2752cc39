"""Where a run's orchestrator is called: a note in the run's store, for whoever is elsewhere.

On its own machine the orchestrator is found by :mod:`orchestrator.endpoint`, which knows whether
its process lives.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import dataclass

from atoll import layout
from atoll.address import refuse_open, split_address
from atoll.blobs import absolute, local_path, open_store
from atoll.errors import BlobMissing, ConfigError

log = logging.getLogger(__name__)

_MOST_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """What the newest orchestrator of a run says of itself.

    Attributes:
        address: ``host:port``, as others call it; "" once it has left.
        run: name of the run, see :func:`orchestrator.naming.name_of`.
        secured: whether callers have to show certificates.
        host: name of its machine.
        folder: where its state lies there.
        database: what holds jobs and events; a path on its machine, or a URL without a password.
        place: the store this was written to: a copy of the store is another run.
    """

    address: str
    run: str
    secured: bool
    host: str
    folder: str
    database: str
    place: str

    @classmethod
    def read(cls, uri: str) -> Rendezvous | None:
        """The note in the store of a run; None where there is none, or it is of another store.

        Raises:
            BlobError: the store cannot be read.
        """
        path = local_path(uri)
        if path is not None and not (path / layout.ORCHESTRATOR).is_file():
            return None
        try:
            tree = json.loads(open_store(uri).get_bytes(layout.ORCHESTRATOR))
            found = cls(**tree)
            split_address(found.address or ":0")
        except BlobMissing:
            return None
        except (ValueError, TypeError, AttributeError):
            log.debug("not understood", extra={"fields": {"key": layout.ORCHESTRATOR}})
            return None
        texts = (found.run, found.host, found.folder, found.database, found.place)
        fits = all(isinstance(text, str) and len(text) < _MOST_TEXT for text in texts)
        return found if fits and found.place == place_of(uri) else None

    @property
    def is_here(self) -> bool:
        """Whether it was written on this machine."""
        return self.host == socket.gethostname()

    def is_from(self, uri: str) -> bool:
        """Whether its orchestrator keeps its state where this machine keeps that of the run.

        Beside the results, wherever the run's folder was moved to since; or below a working
        directory, which may be another one.
        """
        here = layout.state_folder(uri).resolve()
        return self.is_here and (local_path(uri) is not None or self.folder == str(here))

    def refuse_downgrade(self, uri: str, tls_key: str, tls: str) -> None:
        """Refuse to call it in plain text where others can listen, or certificates are at hand.

        Whoever may write to the store could else have calls sent to anybody.

        Args:
            uri: of the run.
            tls_key: the key of the configuration that names a folder of certificates.
            tls: what it says.

        Raises:
            ConfigError: the note is not to be followed.
        """
        try:
            refuse_open(self.address, secured=self.secured)
        except ValueError as error:
            raise ConfigError(f"the orchestrator that {uri} names: {error}") from error
        if tls and not self.secured:
            raise ConfigError(
                f"the orchestrator that {uri} names asks for no certificates; if that is right, "
                f'set {tls_key} = ""'
            )


def place_of(uri: str) -> str:
    """What tells a store from its copies, and is the same from wherever it is seen.

    A shared folder may have another path on every machine; its number in the file system stays.
    """
    path = local_path(uri)
    return absolute(uri).rstrip("/") if path is None else f"folder {path.stat().st_ino}"
