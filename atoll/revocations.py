"""Who is shut out although their certificates still last: a list in the folder of certificates.

It names identities, not certificates: an island renews its own, and nobody keeps count of them. A
name that was revoked is never given again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.errors import ConfigError
from atoll.identity import Identity, Kind
from atoll.private_files import read_private, version_of, write_private

log = logging.getLogger(__name__)

_FILE = "revoked.json"
_LOCK = ".revoked.lock"


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the list.

    Attributes:
        who: anybody but the holder of a join token.
        at: wall-clock time, seconds since the Unix epoch.
        why: in an operator's words, or "".
    """

    who: Identity
    at: float
    why: str

    def __str__(self) -> str:
        return f"{self.who} was revoked{self.why and f': {self.why}'}"


def read_revocations(folder: Path) -> dict[str, Revocation]:
    """The list of a folder, by the URI of each identity; nobody where there is none.

    Raises:
        ConfigError: it cannot be read, so that nobody knows who is shut out.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    try:
        found = [_entry(row) for row in json.loads(read_private(path))]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is damaged, and nobody knows who was revoked; restore it from a copy"
        ) from error
    return {entry.who.uri: entry for entry in found}


def revoke(folder: Path, whom: Sequence[Identity], why: str, at: float) -> dict[str, Revocation]:
    """Add to the list of a folder; who stands there already stays as they are.

    Returns:
        The whole list.

    Raises:
        ConfigError: the list cannot be read.
        OSError: it cannot be written.
    """
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_revocations(folder)
        entries = {who.uri: Revocation(who, at, why) for who in whom} | known
        rows = [{"who": uri, "at": each.at, "why": each.why} for uri, each in entries.items()]
        write_private(folder / _FILE, f"{json.dumps(rows, indent=1)}\n".encode())
    return entries


class Revocations:
    """The list as a server heeds it: read again whenever its file is another."""

    def __init__(self, folder: Path) -> None:
        """Read it. Raises: ConfigError."""
        self._folder = folder
        self._lock = threading.Lock()
        self._seen = version_of(self._folder / _FILE)
        self._known = read_revocations(folder)

    def known(self) -> Mapping[str, Revocation]:
        """Who is shut out at this moment, by URI; a list that cannot be read changes nothing."""
        with self._lock:
            there = version_of(self._folder / _FILE)
            if there != self._seen:
                self._seen = there
                try:
                    # What was revoked stays so, even if somebody takes the list away.
                    self._known = {**self._known, **read_revocations(self._folder)}
                except ConfigError as error:
                    log.error("revocations not read", extra={"fields": {"error": str(error)}})  # noqa: TRY400
            return self._known


def _entry(row: Any) -> Revocation:
    who = Identity.parse(row["who"])
    if who is None or who.kind is Kind.JOIN:
        raise ValueError(row["who"])
    return Revocation(who, float(row["at"]), str(row["why"]))
