"""Bulk bytes: write-once keys, published whole or not at all, hashed on the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from atoll.errors import BadInput


@dataclass(frozen=True, slots=True)
class Blob:
    """What was stored: its key, the sha256 (hex) of its bytes, and how many they are."""

    key: str
    digest: str
    size_bytes: int


class BlobStore(Protocol):
    """Keys with slashes below one URI.

    ``put_*`` writes a key once; ``publish`` alone may replace what is there. Either way a reader
    sees the whole of one version or nothing.
    """

    def put_bytes(self, key: str, data: bytes) -> Blob:
        """Store ``data``. Raises: BlobExists, StorageFull, BlobError."""
        ...

    def put_file(self, key: str, path: Path) -> Blob:
        """Store a copy of a file. Raises: BlobExists, StorageFull, BlobError."""
        ...

    def publish(self, key: str, data: bytes) -> Blob:
        """Store ``data``, replacing what was there. Raises: StorageFull, BlobError."""
        ...

    def get_bytes(self, key: str, digest: str | None = None) -> bytes:
        """Read a key; check its digest if one is given. Raises: BlobMissing, BlobDamaged."""
        ...

    def fetch(self, key: str, digest: str, cache: Path) -> Path:
        """A verified local file with the key's bytes, for reading only.

        Args:
            key: what to fetch.
            digest: sha256 (hex) its bytes must have.
            cache: folder for a copy, where the store is not on this machine.

        Raises:
            BlobMissing: there is no such key.
            BlobDamaged: the bytes have another digest.
        """
        ...

    def in_place(self, key: str) -> Path | None:
        """Where the key lies on this machine's file system, unverified; None in other stores."""
        ...

    def download(self, key: str, path: Path, heard: Callable[[int], None]) -> None:
        """Copy a key's bytes to a file of this machine, unverified.

        Args:
            key: what to copy.
            path: the file; what a try that failed leaves there is no copy.
            heard: told of bytes as they come, by any thread.

        Raises:
            BlobMissing: there is no such key.
            StorageFull: this machine has no space left.
            BlobError: the store gave up, after tries of its own.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""
        ...

    def list(self, prefix: str) -> list[str]:
        """All keys that begin with the folder ``prefix``, sorted."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of every key that begins with the folder ``prefix``."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; one that is gone already is no error. Raises: BlobError."""
        ...

    def sweep(self, older_than_s: float) -> int:
        """Remove what crashed writers left unfinished, in no key's sight.

        Args:
            older_than_s: seconds in which nothing was written to it; more than any write pauses.

        Returns:
            The bytes that this set free.
        """
        ...


def open_store(uri: str) -> BlobStore:
    """The store behind a URI: a path or ``file://`` URL, ``s3://``, or any URL fsspec knows.

    Raises:
        BadInput: the URL cannot be used, or needs an extra that is not installed.
        BlobError: nothing can be opened there.
    """
    path = local_path(uri)
    if path is not None:
        from atoll.file_store import FileStore  # noqa: PLC0415 - it names what is defined here

        return FileStore(path)
    if urlsplit(uri).scheme == "s3":
        from atoll.s3_store import S3Store  # noqa: PLC0415

        return S3Store(uri)
    from atoll.object_store import ObjectStore  # noqa: PLC0415

    return ObjectStore(uri)


def absolute(uri: str) -> str:
    """A URI that means the same in whatever folder a process works."""
    path = local_path(uri)
    return uri if path is None else str(path.absolute())


def make_place(uri: str) -> None:
    """Make the folder of a run on this machine; elsewhere the store makes room by itself.

    Raises:
        BadInput: it cannot be made there; names the key.
    """
    path = local_path(uri)
    try:
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"run.uri = {uri!r} cannot be used: {error.strerror or error}; give a folder that can "
            "be written"
        ) from error


def local_path(uri: str) -> Path | None:
    """The folder behind a URI if it is on this machine's file system, else None."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(parts.path)
    return Path(uri) if not parts.scheme else None
