"""Who may call the service: names, and hashes of the keys that they show.

A line of the file is ``name = "sha256 of the key, in hex"``. Keys are random and long, so that
nobody finds one by its hash. Whoever's line is deleted is shut out at once.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

from atoll.errors import BadInput, ConfigError, Forbidden
from atoll.private_files import version_of, write_private

OwnerOf = Callable[[str], str]  # who shows a key, "" for none; raises Forbidden for a stranger

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")


def anyone(_: str) -> str:
    """Who asks, where nobody is asked who they are."""
    return "anyone"


class Keys:
    """The file of keys, as it is at each call."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises: ConfigError, it cannot be read."""
        self._path = path
        self._guard = threading.Lock()
        self._seen = version_of(path)
        self._names = _read(path)

    def owner_of(self, key: str) -> str:
        """Who shows a key. Raises: Forbidden, nobody does any more."""
        with self._guard:
            self._look()
            name = self._names.get(_hashed(key))
        if name is None:
            what = "this API key is not known" if key else "an API key has to be shown"
            raise Forbidden(f"{what}; `atoll key` makes one")
        return name

    def _look(self) -> None:
        there = version_of(self._path)
        if there == self._seen:
            return
        self._seen = there
        try:
            self._names = _read(self._path)
        except ConfigError as error:
            log.error("goes by the former keys", extra={"fields": {"error": str(error)}})  # noqa: TRY400


def add_key(path: Path, name: str) -> str:
    """Make a key for somebody, and keep its hash; the file is made if it is not there.

    Returns:
        The key, a secret that is kept nowhere.

    Raises:
        BadInput: the name cannot be used, or has a key, or the file cannot be written there.
        ConfigError: the file cannot be read.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name for a key; use letters, digits, - and _, up to 64")
    if not path.parent.is_dir():
        raise BadInput(f"{path.parent} is no folder; make it, or give another file")
    known = _read(path) if path.exists() else {}
    if name in known.values():
        raise BadInput(f"{name} has a key in {path}; delete that line to give them another")
    key = f"atoll-{secrets.token_urlsafe(32)}"
    lines = "".join(
        f'{each} = "{digest}"\n' for digest, each in {**known, _hashed(key): name}.items()
    )
    try:
        write_private(path, lines.encode())
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from error
    return key


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _read(path: Path) -> dict[str, str]:
    """Names by hash."""
    try:
        lines = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; `atoll key {path} NAME` makes it") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no file of keys: {error}") from error
    for name, digest in lines.items():
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            raise ConfigError(
                f"{path} is no file of keys: {name} is no hash of one; give the file that "
                "`atoll key` made"
            )
    return {digest: name for name, digest in lines.items()}
