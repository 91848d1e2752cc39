"""Lists of samples in files of a run: lines of JSON, so that no manifest grows with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from atoll.blobs import BlobStore
from atoll.errors import BlobExists
from partition.manifest import Listing


def save_listing(
    store: BlobStore, key_of: Callable[[str], str], rows: Iterable[Mapping[str, Any]]
) -> Listing:
    """Store a list.

    Args:
        store: of the run.
        key_of: where it goes, by the sha256 (hex) of its bytes.
        rows: what is told of each sample.

    Raises:
        StorageFull: the store has no space left.
    """
    lines = [json.dumps(row) + "\n" for row in rows]
    data = "".join(lines).encode()
    digest = hashlib.sha256(data).hexdigest()
    with contextlib.suppress(BlobExists):  # the key names the content
        store.put_bytes(key_of(digest), data)
    return Listing(len(lines), key_of(digest), digest)


def read_listing(store: BlobStore, listing: Listing) -> Iterator[dict[str, Any]]:
    """What is told of each sample. Raises: BlobMissing, BlobDamaged."""
    return map(json.loads, store.get_bytes(listing.key, listing.digest).splitlines())
