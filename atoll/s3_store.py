"""Blobs in a bucket of S3, or of anything that speaks like it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from atoll.blob_checks import copied, reading, taken, verified, writing
from atoll.blobs import Blob
from atoll.errors import BadInput
from atoll.s3_client import code_of, connect, speaking, wrote
from atoll.s3_upload import (
    PART_BYTES,
    Place,
    checksum_of,
    parts_of,
    split,
    unfinished_uploads,
    upload,
)

_AT_ONCE = 1000  # keys that S3 deletes in one call


class S3Store:
    """Keys below a prefix of a bucket, which has to exist.

    A key is written on the condition that it is not there yet, which S3 decides: of two writers at
    the same time exactly one wins. (Two that go on with one unfinished upload, of the same bytes,
    are one to S3.) S3 checks the sha256 of what it is sent.
    """

    def __init__(self, uri: str) -> None:
        self._bucket, _, root = uri.removeprefix("s3://").rstrip("/").partition("/")
        if not self._bucket or "@" in self._bucket:
            raise BadInput(
                "an s3:// URL names a bucket and a prefix and holds no credentials: "
                "s3://bucket/prefix"
            )
        self._uri, self._root = uri.rstrip("/"), f"{root}/" if root else ""
        self._client = connect(self._uri)

    def put_bytes(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        with self._writing(key):
            try:
                self._put(key, data, IfNoneMatch="*")
            except ClientError as error:
                checksum = checksum_of(data)
                if not wrote(error, self._client, self._bucket, self._path(key), checksum):
                    raise
        return _blob(key, data)

    def put_file(self, key: str, path: Path) -> Blob:
        """See :class:`BlobStore`; a large file goes in parts, and on from those a crash left."""
        with self._writing(key):
            size = path.stat().st_size
            if size <= PART_BYTES:
                return self.put_bytes(key, path.read_bytes())
            if self.exists(key):  # S3 would say so as well, after the whole upload
                raise taken(self._named(key))
            parts, digest = split(path)
            try:
                upload(Place(self._client, self._bucket, self._path(key)), path, parts)
            except ClientError as error:
                # Another went on with the same unfinished upload, and was faster.
                if code_of(error) in {"InvalidPart", "NoSuchUpload"} and self.exists(key):
                    raise taken(self._named(key)) from error
                raise
        return Blob(key, digest, size)

    def publish(self, key: str, data: bytes) -> Blob:
        """See :class:`BlobStore`."""
        with self._writing(key):
            self._put(key, data)
        return _blob(key, data)

    def get_bytes(self, key: str, digest: str | None = None) -> bytes:
        """See :class:`BlobStore`."""
        with self._reading(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._path(key))
            data: bytes = answer["Body"].read()
        return verified(data, digest, self._named(key))

    def fetch(self, key: str, digest: str, cache: Path) -> Path:
        """See :class:`BlobStore`."""
        name = self._named(key)
        return copied(cache, digest, name, lambda path: self.download(key, path, lambda _: None))

    def in_place(self, key: str) -> None:  # noqa: ARG002
        """See :class:`BlobStore`: nowhere."""
        return

    def download(self, key: str, path: Path, heard: Callable[[int], None]) -> None:
        """See :class:`BlobStore`; a large key comes in parts, each tried again by itself."""
        with self._reading(key):
            self._client.download_file(self._bucket, self._path(key), str(path), Callback=heard)

    def exists(self, key: str) -> bool:
        """See :class:`BlobStore`; by a list, because S3 answers HEAD for want of a bucket alike."""
        with self._reading(key):
            found = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._path(key), MaxKeys=1
            )
        return any(entry["Key"] == self._path(key) for entry in found.get("Contents", []))

    def list(self, prefix: str) -> list[str]:
        """See :class:`BlobStore`."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """See :class:`BlobStore`."""
        below = self._path(f"{prefix.rstrip('/')}/") if prefix else self._root
        with self._reading(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            return {
                str(entry["Key"]).removeprefix(self._root): int(entry["Size"])
                for page in pages.paginate(Bucket=self._bucket, Prefix=below)
                for entry in page.get("Contents", [])
            }

    def delete(self, keys: Iterable[str]) -> None:
        """See :class:`BlobStore`."""
        every = [{"Key": self._path(key)} for key in keys]
        with writing(f"keys below {self._uri}", "deleted"), speaking(self._uri, self._client):
            for first in range(0, len(every), _AT_ONCE):
                batch = {"Objects": every[first : first + _AT_ONCE], "Quiet": True}
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=batch)
                for kept in answer.get("Errors", []):
                    raise OSError(f"{kept['Key']}: {kept['Code']}: {kept['Message']}")

    def sweep(self, older_than_s: float) -> int:
        """See :class:`BlobStore`; an upload is as old as the last of its parts."""
        freed, before = 0, datetime.now(UTC) - timedelta(seconds=older_than_s)
        with writing(self._uri, "swept"), speaking(self._uri, self._client):
            for begun in unfinished_uploads(self._client, self._bucket, self._root):
                parts = parts_of(self._client, self._bucket, begun)
                if max([begun["Initiated"], *(part["LastModified"] for part in parts)]) < before:
                    self._abort(begun)
                    freed += sum(part["Size"] for part in parts)
        return freed

    def _abort(self, begun: dict[str, Any]) -> None:
        try:
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=begun["Key"], UploadId=begun["UploadId"]
            )
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":  # finished meanwhile
                raise

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=self._path(key),
            Body=data,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum_of(data),
            **condition,
        )

    def _path(self, key: str) -> str:
        return f"{self._root}{key}"

    def _named(self, key: str) -> str:
        return f"{self._uri}/{key}"

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        with reading(self._named(key)), speaking(self._named(key), self._client):
            yield

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        with writing(self._named(key)), speaking(self._named(key), self._client):
            yield


def _blob(key: str, data: bytes) -> Blob:
    return Blob(key, hashlib.sha256(data).hexdigest(), len(data))
