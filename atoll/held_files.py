"""Files of a store, read from a disk of this node and verified before they are used."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from atoll.blob_checks import check, digest_file, reading, writing
from atoll.blobs import Blob, BlobStore
from atoll.cache_claims import Claim
from atoll.cache_stamp import Stamp
from atoll.errors import BlobDamaged

log = logging.getLogger(__name__)


class HeldFiles:
    """Made by :meth:`atoll.node_cache.NodeCache.hold`; what it made room for stays as long as this.

    A file is hashed when it arrives, and again when it was changed since. What rots on a disk
    beneath an unchanged file is found by who reads it and casts a :meth:`doubt` on it.

    Args:
        folder: of the cache.
        store: where the files come from.
        claim: on their copies; None where they are read in place.
        heard: told of bytes as they come to hand, by any thread.
    """

    def __init__(
        self, folder: Path, store: BlobStore, claim: Claim | None, heard: Callable[[int], None]
    ) -> None:
        self._folder, self._store, self._claim, self._heard = folder, store, claim, heard

    def path(self, blob: Blob) -> Path:
        """One of the files, verified; fetched if it is not here.

        Raises:
            BlobMissing: the store has no such key.
            BlobDamaged: the store's bytes have another digest.
            StorageFull: this machine has no space left.
        """
        place = None if self._claim else self._store.in_place(blob.key)
        path = place or self._folder / "copies" / blob.digest
        with writing(path, "looked at"), Stamp.opened(self._seen(blob)) as stamp:
            if stamp.fits(path):
                self._heard(blob.size_bytes)
                return path
            if place:
                self._verify(blob, path)
            elif path.exists() and digest_file(path) == blob.digest:
                self._heard(blob.size_bytes)
            else:
                self._fetch(blob, path)
            stamp.set(path)
        return path

    def doubt(self, blob: Blob) -> None:
        """What was read from the file makes no sense: whoever uses it next verifies it anew."""
        with writing(self._seen(blob)), Stamp.opened(self._seen(blob)) as stamp:
            stamp.clear()

    def _seen(self, blob: Blob) -> Path:
        return self._folder / "seen" / blob.digest

    def _verify(self, blob: Blob, path: Path) -> None:
        with reading(path):
            found = digest_file(path)
        check(found, blob.digest, str(path))
        self._heard(blob.size_bytes)

    def _fetch(self, blob: Blob, path: Path) -> None:
        try:
            self._fetch_once(blob, path)
        except BlobDamaged as error:
            log.warning("fetched again", extra={"fields": {"reason": str(error)}})
            self._fetch_once(blob, path)  # damaged where it lies, or only on its way?

    def _fetch_once(self, blob: Blob, path: Path) -> None:
        partial = self._folder / "partial" / blob.digest
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(parents=True)
        try:
            part = partial / "part"
            self._store.download(blob.key, part, self._heard)
            check(digest_file(part), blob.digest, blob.key)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
