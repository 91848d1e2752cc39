"""Bulk bytes: write-once keys, published whole or not at all, hashed on the way in and out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from atoll.errors import BlobDamaged, BlobError, BlobExists, BlobMissing, StorageFull

_CHUNK_BYTES = 1 << 20


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

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""
        ...

    def list(self, prefix: str) -> list[str]:
        """All keys that begin with the folder ``prefix``, sorted."""
        ...


def open_store(uri: str) -> BlobStore:
    """The store behind a URI: a path or ``file://`` URL, or any URL fsspec knows (``s3://…``)."""
    path = local_path(uri)
    return FileStore(path) if path is not None else ObjectStore(uri)


def local_path(uri: str) -> Path | None:
    """The folder behind a URI if it is on this machine's file system, else None."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(parts.path)
    return Path(uri) if not parts.scheme else None


def digest_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileStore:
    """A folder. A key appears by a hard link or rename of a finished, synced file."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put_bytes(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        with self._written(key) as temporary:
            temporary.write_bytes(data)
            self._link(temporary, key)
        return Blob(key, hashlib.sha256(data).hexdigest(), len(data))

    def put_file(self, key: str, path: Path) -> Blob:
        """See :class:`BlobStore`."""
        with self._written(key) as temporary:
            shutil.copyfile(path, temporary)
            blob = Blob(key, digest_file(temporary), temporary.stat().st_size)
            self._link(temporary, key)
        return blob

    def publish(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        with self._written(key) as temporary:
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(self._path(key))
            _sync(self._path(key).parent)
        return Blob(key, hashlib.sha256(data).hexdigest(), len(data))

    def get_bytes(self, key: str, digest: str | None = None) -> bytes:
        """See :class:`BlobStore`."""
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise BlobMissing(f"{self._root / key} is missing") from error
        return _verified(data, digest, str(self._root / key))

    def fetch(self, key: str, digest: str, cache: Path) -> Path:  # noqa: ARG002
        """See :class:`BlobStore`; the file itself, without a copy."""
        path = self._path(key)
        if not path.exists():
            raise BlobMissing(f"{path} is missing")
        _check(digest_file(path), digest, str(path))
        return path

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`."""
        return self._path(key).exists()

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        below = self._path(prefix)
        files = (path for path in below.rglob("*") if path.is_file())
        return sorted(
            path.relative_to(self._root).as_posix()
            for path in files
            if not path.name.startswith(".tmp-")
        )

    def _path(self, key: str) -> Path:
        path = self._root / key
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise BlobError(f"key {key!r} points outside {self._root}")
        return path

    @contextlib.contextmanager
    def _written(self, key: str) -> Iterator[Path]:
        """A temporary file beside the key's place; gone afterwards, whatever happened."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        except OSError as error:
            raise _storage_error(error, path) from error
        os.close(handle)
        temporary = Path(name)
        try:
            temporary.chmod(0o644)
            yield temporary
        except OSError as error:
            raise _storage_error(error, path) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _link(self, temporary: Path, key: str) -> None:
        _sync(temporary)
        path = self._path(key)
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise BlobExists(f"{path} is written already; keys are write-once") from error
        _sync(path.parent)


class ObjectStore:
    """Any other place fsspec reaches; an object store publishes an upload whole by itself."""

    def __init__(self, uri: str) -> None:
        import fsspec  # noqa: PLC0415 - the import costs more than a local run's whole start-up

        self._uri = uri.rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self._uri)
        except (ImportError, ValueError) as error:
            raise BlobError(f"{uri} cannot be opened: {error}") from error

    def put_bytes(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        self._refuse_taken(key)
        return self.publish(key, data)

    def put_file(self, key: str, path: Path) -> Blob:
        """See :class:`BlobStore`."""
        self._refuse_taken(key)
        digest = digest_file(path)
        try:
            self._fs.put_file(str(path), self._path(key))
        except OSError as error:
            raise BlobError(f"{self._uri}/{key} could not be written: {error}") from error
        return Blob(key, digest, path.stat().st_size)

    def publish(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        try:
            self._fs.pipe_file(self._path(key), data)
        except OSError as error:
            raise BlobError(f"{self._uri}/{key} could not be written: {error}") from error
        return Blob(key, hashlib.sha256(data).hexdigest(), len(data))

    def get_bytes(self, key: str, digest: str | None = None) -> bytes:
        """See :class:`BlobStore`."""
        try:
            data: bytes = self._fs.cat_file(self._path(key))
        except FileNotFoundError as error:
            raise BlobMissing(f"{self._uri}/{key} is missing") from error
        return _verified(data, digest, f"{self._uri}/{key}")

    def fetch(self, key: str, digest: str, cache: Path) -> Path:
        """See :class:`BlobStore`; copies are named by digest, so one is never taken for another."""
        target = cache / digest
        if target.exists() and digest_file(target) == digest:
            return target
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            part = Path(folder) / "part"
            try:
                self._fs.get_file(self._path(key), str(part))
            except FileNotFoundError as error:
                raise BlobMissing(f"{self._uri}/{key} is missing") from error
            _check(digest_file(part), digest, f"{self._uri}/{key}")
            part.replace(target)
        return target

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`."""
        return bool(self._fs.exists(self._path(key)))

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        found = self._fs.find(self._path(prefix))
        return sorted(str(name).removeprefix(self._root).lstrip("/") for name in found)

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def _refuse_taken(self, key: str) -> None:
        if self.exists(key):
            raise BlobExists(f"{self._uri}/{key} is written already; keys are write-once")


def _verified(data: bytes, digest: str | None, name: str) -> bytes:
    if digest is not None:
        _check(hashlib.sha256(data).hexdigest(), digest, name)
    return data


def _check(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise BlobDamaged(
            f"{name} is damaged: its digest is {found[:12]}…, expected {expected[:12]}…; "
            "restore the file, or delete it and run its stage again"
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _storage_error(error: OSError, path: Path) -> BlobError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(f"no space left for {path}; free some and run the same command again")
    return BlobError(f"{path} could not be written: {error}")
