"""One tar of images encoded: read, made into a tar beside it, recorded."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atoll import layout
from atoll.blob_checks import digest_file
from atoll.blobs import BlobStore
from atoll.errors import BlobExists, BlobMissing
from partition.encoding.series import Encoded, Encoder, Series, Stored
from partition.manifest import Shard
from partition.shards import END_OF_TAR, member, places


@dataclass(frozen=True, slots=True)
class Record:
    """A tar that is whole.

    Attributes:
        shard: the tar.
        sums: over its samples, see :class:`partition.encoding.series.Encoded`.
    """

    shard: Shard
    sums: Mapping[str, float]


def find_record(store: BlobStore, series: Series, of: Shard) -> Record | None:
    """What was made of a tar of images before, by whomever; None if nothing was, or it is gone."""
    key = layout.encoded_record(series.digest, of.digest)
    try:
        tree = json.loads(store.get_bytes(key))
    except BlobMissing:
        return None
    record = Record(Shard(**tree["shard"]), tree["sums"])
    return record if store.exists(record.shard.key) else None


def encode_shard(
    store: BlobStore,
    series: Series,
    encoder: Encoder,
    of: Shard,
    path: Path,
    *,
    folder: Path,
    threads: int,
) -> Record:
    """Make of a tar of images what a series asks for, store it, and record it.

    Batches never reach from one tar into another, so it is the same whoever makes it.

    Args:
        store: of the run.
        series: what is made.
        encoder: that the series has opened.
        of: the tar of images.
        path: where that is on this machine, verified.
        folder: for the tar that is made, until it is whole.
        threads: that prepare samples while others are encoded.

    Raises:
        OSError: it cannot be written to the folder.
        StorageFull: the store has no space left.
    """
    made, sums = folder / f"{of.digest}.tar", dict[str, float]()
    with made.open("wb") as file:
        for names, encoded in _encoded(path, encoder, series.batch_size, threads):
            for name, files in zip(names, encoded.files, strict=True):
                for extension, data in files.items():
                    file.write(member(f"{name}.{extension}", data))
            for name, value in encoded.sums.items():
                sums[name] = sums.get(name, 0.0) + value
        file.write(END_OF_TAR)
    digest, size_bytes = digest_file(made), made.stat().st_size
    key = layout.encoded_shard(series.digest, of.digest, digest)
    with contextlib.suppress(BlobExists):  # the key names the content
        store.put_file(key, made)
    made.unlink()
    record = Record(Shard(key, digest, of.num_samples, size_bytes, of.bucket), sums)
    # One that is replaced was that of a tar that is gone, or says the same of the same bytes.
    store.publish(
        layout.encoded_record(series.digest, of.digest),
        json.dumps(asdict(record), sort_keys=True).encode(),
    )
    return record


def _encoded(
    path: Path, encoder: Encoder, batch_size: int, threads: int
) -> Iterator[tuple[list[str], Encoded]]:
    """Names of the samples of each batch, and what was made of them."""
    samples = _samples(path)
    batches = iter(lambda: list(itertools.islice(samples, batch_size)), [])
    with ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
        ahead: list[tuple[str, Future[Any]]] = []
        for batch in itertools.chain(batches, [[]]):
            begun = [(each.name, pool.submit(encoder.prepare, each)) for each in batch]
            if ahead:
                names, prepared = zip(*ahead, strict=True)
                yield list(names), encoder.encode([future.result() for future in prepared])
            ahead = begun


def _samples(path: Path) -> Iterator[Stored]:
    """Those of a tar of images, in its order."""
    found = places(path)
    with path.open("rb") as file:

        def read(at: int, size: int) -> bytes:
            file.seek(at)
            return file.read(size)

        for image, about in zip(found[0::2].tolist(), found[1::2].tolist(), strict=True):
            yield Stored(read(*image), read(*about))
