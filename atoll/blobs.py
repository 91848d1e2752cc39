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

from atoll.errors import (
    AtollError,
    BadInput,
    BlobDamaged,
    BlobError,
    BlobExists,
    BlobMissing,
    StorageFull,
)

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
        path = self._path(key)
        with _reading(path):
            data = path.read_bytes()
        return _verified(data, digest, str(path))

    def fetch(self, key: str, digest: str, cache: Path) -> Path:  # noqa: ARG002
        """See :class:`BlobStore`; the file itself, without a copy."""
        path = self._path(key)
        with _reading(path):
            found = digest_file(path)
        _check(found, digest, str(path))
        return path

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`."""
        path = self._path(key)
        with _reading(path):
            return path.exists()

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        below = self._path(prefix)
        with _reading(below):
            files = [path for path in below.rglob("*") if path.is_file()]
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
        with _writing(path):
            _make_folder(path.parent)
            handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
            os.close(handle)
            temporary = Path(name)
            try:
                temporary.chmod(0o644)
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)

    def _link(self, temporary: Path, key: str) -> None:
        _sync(temporary)
        path = self._path(key)
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise _taken(path) from error
        _sync(path.parent)


class ObjectStore:
    """Any other place fsspec reaches; an object store publishes an upload whole by itself.

    Whether a key is taken is asked before the upload, and not in one act with it as in a folder: of
    two writers at the same time the later one wins. No two are given the same key, because keys
    written by several islands carry the epoch of their lease.
    """

    def __init__(self, uri: str) -> None:
        import fsspec  # noqa: PLC0415 - the import costs more than a local run's whole start-up

        self._uri = uri.rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self._uri)
        except Exception as error:  # see _reading
            raise BlobError(f"{uri} cannot be opened: {error}") from error

    def put_bytes(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        self._refuse_taken(key)
        return self.publish(key, data)

    def put_file(self, key: str, path: Path) -> Blob:
        """See :class:`BlobStore`."""
        self._refuse_taken(key)
        with _writing(self._named(key)):
            digest = digest_file(path)
            self._fs.put_file(str(path), self._path(key))
            return Blob(key, digest, path.stat().st_size)

    def publish(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        with _writing(self._named(key)):
            self._fs.pipe_file(self._path(key), data)
        return Blob(key, hashlib.sha256(data).hexdigest(), len(data))

    def get_bytes(self, key: str, digest: str | None = None) -> bytes:
        """See :class:`BlobStore`."""
        with _reading(self._named(key)):
            data: bytes = self._fs.cat_file(self._path(key))
        return _verified(data, digest, self._named(key))

    def fetch(self, key: str, digest: str, cache: Path) -> Path:
        """See :class:`BlobStore`; copies are named by digest, so one is never taken for another."""
        target = cache / digest
        with _writing(target):
            if target.exists() and digest_file(target) == digest:
                return target
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                part = Path(folder) / "part"
                with _reading(self._named(key)):
                    self._fs.get_file(self._path(key), str(part))
                _check(digest_file(part), digest, self._named(key))
                part.replace(target)
        return target

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`."""
        try:
            # fsspec's own exists() takes a store that cannot be reached for an empty one.
            with _reading(self._named(key)):
                self._fs.info(self._path(key))
        except BlobMissing:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        with _reading(self._named(prefix)):
            found = self._fs.find(self._path(prefix))
        return sorted(str(name).removeprefix(self._root).lstrip("/") for name in found)

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def _named(self, key: str) -> str:
        return f"{self._uri}/{key}"

    def _refuse_taken(self, key: str) -> None:
        if self.exists(key):
            raise _taken(self._named(key))


def _verified(data: bytes, digest: str | None, name: str) -> bytes:
    if digest is not None:
        _check(hashlib.sha256(data).hexdigest(), digest, name)
    return data


def _check(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise BlobDamaged(
            f"{name} is damaged: its digest is {found[:12]}…, expected {expected[:12]}…; "
            "restore it from a copy, or begin anew under another run.uri"
        )


def _make_folder(path: Path) -> None:
    """With its parents; each is on the disk in the one above, as a file in it has to be."""
    if path.exists():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of space, of quota, or of leave for a file so large."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def _reading(name: Path | str) -> Iterator[None]:
    """Inside, what keeps a key from being read becomes one sentence."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BlobMissing(
            f"{name} is missing; restore it from a copy, or begin anew under another run.uri"
        ) from error
    except Exception as error:  # drivers behind fsspec raise errors of their own libraries
        raise _blob_error(error, f"{name} could not be read") from error


@contextlib.contextmanager
def _writing(name: Path | str) -> Iterator[None]:
    """Inside, what keeps a key from being written becomes one sentence."""
    try:
        yield
    except AtollError:
        raise
    except Exception as error:  # see _reading
        raise _blob_error(error, f"{name} could not be written") from error


def _blob_error(error: Exception, what: str) -> BlobError:
    if isinstance(error, OSError) and is_full(error):
        return StorageFull(
            f"{what}: no space or quota left ({error}); free some and run the same command again"
        )
    return BlobError(f"{what} ({error}); mend that and run the same command again")


def _taken(name: Path | str) -> BlobExists:
    return BlobExists(f"{name} is written already and stays; delete it first if it is not wanted")
