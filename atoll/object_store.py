"""Blobs at any other place fsspec reaches."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from atoll.blob_checks import copied, digest_file, reading, taken, verified, writing
from atoll.blobs import Blob
from atoll.errors import BadInput, BlobError, BlobMissing


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
        except (ImportError, ValueError) as error:  # no such scheme, or not what it needs
            raise BadInput(f"{uri} cannot be opened here: {error}") from error
        except Exception as error:  # see reading
            raise BlobError(f"{uri} cannot be opened: {error}") from error

    def put_bytes(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        self._refuse_taken(key)
        return self.publish(key, data)

    def put_file(self, key: str, path: Path) -> Blob:
        """See :class:`BlobStore`."""
        self._refuse_taken(key)
        with writing(self._named(key)):
            digest = digest_file(path)
            self._fs.put_file(str(path), self._path(key))
            return Blob(key, digest, path.stat().st_size)

    def publish(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        with writing(self._named(key)):
            self._fs.pipe_file(self._path(key), data)
        return Blob(key, hashlib.sha256(data).hexdigest(), len(data))

    def get_bytes(self, key: str, digest: str | None = None) -> bytes:
        """See :class:`BlobStore`."""
        with reading(self._named(key)):
            data: bytes = self._fs.cat_file(self._path(key))
        return verified(data, digest, self._named(key))

    def fetch(self, key: str, digest: str, cache: Path) -> Path:
        """See :class:`BlobStore`."""
        name = self._named(key)
        return copied(cache, digest, name, lambda path: self.download(key, path, lambda _: None))

    def in_place(self, key: str) -> None:  # noqa: ARG002
        """See :class:`BlobStore`: nowhere."""
        return

    def download(self, key: str, path: Path, heard: Callable[[int], None]) -> None:
        """See :class:`BlobStore`; told of bytes as often as the driver tells."""
        from fsspec.callbacks import Callback  # noqa: PLC0415 - see above

        class Heard(Callback):  # type: ignore[misc]
            def relative_update(self, inc: int = 1) -> None:
                heard(inc)

        with reading(self._named(key)):
            self._fs.get_file(self._path(key), str(path), callback=Heard())

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`."""
        try:
            # fsspec's own exists() takes a store that cannot be reached for an empty one.
            with reading(self._named(key)):
                self._fs.info(self._path(key))
        except BlobMissing:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        with reading(self._named(prefix)):
            found = self._fs.find(self._path(prefix))
        return sorted(str(name).removeprefix(self._root).lstrip("/") for name in found)

    def sizes(self, prefix: str) -> dict[str, int]:
        """See :class:`BlobStore`."""
        with reading(self._named(prefix)):
            found = self._fs.find(self._path(prefix), detail=True)
        return {
            str(name).removeprefix(self._root).lstrip("/"): int(about["size"])
            for name, about in found.items()
        }

    def delete(self, keys: Iterable[str]) -> None:
        """See :class:`BlobStore`."""
        for key in keys:
            with writing(self._named(key), "deleted"), contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(self._path(key))

    def sweep(self, older_than_s: float) -> int:  # noqa: ARG002
        """See :class:`BlobStore`; what a driver leaves unfinished, only its own place knows."""
        return 0

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def _named(self, key: str) -> str:
        return f"{self._uri}/{key}"

    def _refuse_taken(self, key: str) -> None:
        if self.exists(key):
            raise taken(self._named(key))
