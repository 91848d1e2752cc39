"""Large files to S3 in parts; a file whose writer crashed goes on where it was."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from atoll.s3_client import code_of, wrote

PART_BYTES = 8 << 20  # a file of no more than that goes in one piece
_MOST_PARTS = 10_000  # S3's limit
_SENDERS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file: its number from 1, where it begins, and what S3 calls its bytes."""

    number: int
    offset: int
    size_bytes: int
    md5: str
    sha256: str  # base64, as S3 writes it

    def read(self, path: Path) -> bytes:
        """Its bytes. Raises: OSError, if they are not what they were."""
        with path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size_bytes)
        if checksum_of(data) != self.sha256:
            raise OSError(f"{path} changed while it was read; let nothing write to it")
        return data


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file goes: a client, a bucket, and the key as S3 names it."""

    client: Any
    bucket: str
    key: str


def checksum_of(data: bytes) -> str:
    """sha256 in base64, as S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def split(path: Path) -> tuple[list[Part], str]:
    """The parts of a file, the same whenever it is asked, and the sha256 (hex) of the whole."""
    size = max(PART_BYTES, -(-path.stat().st_size // _MOST_PARTS))
    parts: list[Part] = []
    whole, offset = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(size):
            whole.update(data)
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            parts.append(Part(len(parts) + 1, offset, len(data), md5, checksum_of(data)))
            offset += len(data)
    return parts, whole.hexdigest()


def upload(place: Place, path: Path, parts: list[Part]) -> None:
    """Store a file under a key that is free; of several writers, one.

    What an unfinished upload of these very bytes holds already is not sent again. An upload that
    fails stays, to be gone on with or swept.

    Raises:
        ClientError: S3 refuses; ``PreconditionFailed`` if the key is taken.
    """
    upload_id, present = _unfinished(place, parts) or (_begin(place), {})
    send = functools.partial(_send, place, upload_id, path)
    missing = [part for part in parts if part.number not in present]
    with ThreadPoolExecutor(_SENDERS) as pool:
        etags = present | dict(pool.map(send, missing))
    _complete(place, upload_id, parts, etags)


def _begin(place: Place) -> str:
    begun = place.client.create_multipart_upload(
        Bucket=place.bucket, Key=place.key, ChecksumAlgorithm="SHA256"
    )
    return str(begun["UploadId"])


def _unfinished(place: Place, parts: list[Part]) -> tuple[str, dict[int, str]] | None:
    """An upload of the key that holds a part of ours and no other, and the ETags of its parts.

    One that holds anything else is another writer's. An empty one may be, too.
    """
    ours = {part.number: part for part in parts}
    for begun in unfinished_uploads(place.client, place.bucket, place.key):
        if begun["Key"] != place.key:
            continue
        found = parts_of(place.client, place.bucket, begun)
        if found and all(_same(ours.get(part["PartNumber"]), part) for part in found):
            return str(begun["UploadId"]), {part["PartNumber"]: part["ETag"] for part in found}
    return None


def _same(ours: Part | None, found: dict[str, Any]) -> bool:
    """Whether a part is ours. An ETag is the MD5 of its bytes, except where keys encrypt them."""
    if ours is None or found["Size"] != ours.size_bytes:
        return False
    return found.get("ChecksumSHA256") == ours.sha256 or found["ETag"].strip('"') == ours.md5


def _send(place: Place, upload_id: str, path: Path, part: Part) -> tuple[int, str]:
    answer = place.client.upload_part(
        Bucket=place.bucket,
        Key=place.key,
        UploadId=upload_id,
        PartNumber=part.number,
        Body=part.read(path),
        ChecksumSHA256=part.sha256,
    )
    return part.number, answer["ETag"]


def _complete(place: Place, upload_id: str, parts: list[Part], etags: dict[int, str]) -> None:
    """Put the parts together, each with the digest it must have, unless the key is taken."""
    listed = [
        {"PartNumber": part.number, "ETag": etags[part.number], "ChecksumSHA256": part.sha256}
        for part in parts
    ]
    upload = {"Bucket": place.bucket, "Key": place.key, "UploadId": upload_id}
    try:
        place.client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": listed}, IfNoneMatch="*"
        )
    except ClientError as error:
        digests = b"".join(base64.b64decode(part.sha256) for part in parts)
        if wrote(error, place.client, place.bucket, place.key, checksum_of(digests)):
            return
        if code_of(error) == "PreconditionFailed":
            place.client.abort_multipart_upload(**upload)
        raise


def unfinished_uploads(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every upload that was begun below a prefix and not completed."""
    pages = client.get_paginator("list_multipart_uploads")
    for page in pages.paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Uploads", [])


def parts_of(client: Any, bucket: str, begun: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of an unfinished upload that have arrived; none if it is finished meanwhile."""
    pages = client.get_paginator("list_parts")
    try:
        return [
            part
            for page in pages.paginate(Bucket=bucket, Key=begun["Key"], UploadId=begun["UploadId"])
            for part in page.get("Parts", [])
        ]
    except ClientError as error:
        if code_of(error) == "NoSuchUpload":
            return []
        raise
