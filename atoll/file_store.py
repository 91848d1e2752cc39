"""Blobs in a folder of this machine's file system."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from atoll.blob_checks import check, digest_file, reading, taken, verified, writing
from atoll.blobs import Blob
from atoll.errors import BlobError

_CHUNK_BYTES = 8 << 20
_UNFINISHED = ".tmp-"  # begins the name of a file that is no key yet


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
        with reading(path):
            data = path.read_bytes()
        return verified(data, digest, str(path))

    def fetch(self, key: str, digest: str, cache: Path) -> Path:  # noqa: ARG002
        """See :class:`BlobStore`; the file itself, without a copy."""
        path = self._path(key)
        with reading(path):
            found = digest_file(path)
        check(found, digest, str(path))
        return path

    def in_place(self, key: str) -> Path:
        """See :class:`BlobStore`."""
        return self._path(key)

    def download(self, key: str, path: Path, heard: Callable[[int], None]) -> None:
        """See :class:`BlobStore`."""
        with reading(self._path(key)), self._path(key).open("rb") as source, path.open("wb") as to:
            while chunk := source.read(_CHUNK_BYTES):
                to.write(chunk)
                heard(len(chunk))

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`."""
        path = self._path(key)
        with reading(path):
            return path.exists()

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        below = self._path(prefix)
        with reading(below):
            files = [path for path in below.rglob("*") if path.is_file()]
        return sorted(
            path.relative_to(self._root).as_posix()
            for path in files
            if not path.name.startswith(_UNFINISHED)
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        """See :class:`BlobStore`."""
        found: dict[str, int] = {}
        for key in self.list(prefix):
            # What is deleted meanwhile is not there any more.
            with reading(self._path(key)), contextlib.suppress(FileNotFoundError):
                found[key] = self._path(key).stat().st_size
        return found

    def delete(self, keys: Iterable[str]) -> None:
        """See :class:`BlobStore`; folders that it leaves empty go as well."""
        for key in keys:
            path = self._path(key)
            with writing(path, "deleted"):
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # another key, or somebody's unfinished file
                    for folder in path.relative_to(self._root).parents[:-1]:
                        (self._root / folder).rmdir()

    def sweep(self, older_than_s: float) -> int:
        """See :class:`BlobStore`."""
        freed, before = 0, time.time() - older_than_s
        with writing(self._root, "swept"):
            for path in self._root.rglob(f"{_UNFINISHED}*"):
                # It may be finished, and gone, at any moment.
                with contextlib.suppress(FileNotFoundError):
                    state = path.stat()
                    if state.st_mtime < before:
                        path.unlink()
                        freed += state.st_size
        return freed

    def _path(self, key: str) -> Path:
        path = self._root / key
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise BlobError(f"key {key!r} points outside {self._root}")
        return path

    @contextlib.contextmanager
    def _written(self, key: str) -> Iterator[Path]:
        """A temporary file beside the key's place; gone afterwards, whatever happened."""
        path = self._path(key)
        with writing(path):
            handle, name = _begun(path.parent)
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
            raise taken(path) from error
        _sync(path.parent)


def _begun(folder: Path) -> tuple[int, str]:
    """An unfinished file in a folder, which whoever deletes keys may take for empty once."""
    _make_folder(folder)
    try:
        return tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
    except FileNotFoundError:
        _make_folder(folder)
        return tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)


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
