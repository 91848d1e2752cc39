"""Copies of a store's files on a node's own disk, kept between trainers and within a budget.

Processes share a folder without knowing of each other, whatever run they belong to::

    copies/DIGEST    whole and verified; the name is the sha256 of the bytes
    partial/DIGEST/  a copy that is being made
    seen/DIGEST      see atoll.cache_stamp; locked while its file is fetched or verified
    claims/          see atoll.cache_claims
    lock             held by whoever makes room
"""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from atoll import layout
from atoll.blob_checks import writing
from atoll.blobs import Blob, BlobStore
from atoll.cache_claims import Claim, alone, claimed
from atoll.cache_room import Copy, giving_way
from atoll.cache_section import CacheSection
from atoll.errors import StorageFull
from atoll.fit import refuse_cache
from atoll.held_files import HeldFiles

_FOLDERS = ("copies", "partial", "seen", "claims")
_DIGEST = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


class NodeCache:
    """A folder of copies.

    Args:
        folder: on this node's own disk; made if it is not there.
        size_bytes: most that all copies may take; 0 for as much as there is.
        copy_always: whether files that lie in a folder of this machine are copied as well.
    """

    def __init__(self, folder: Path, size_bytes: int = 0, *, copy_always: bool = False) -> None:
        self._folder, self._size_bytes, self._copy_always = folder, size_bytes, copy_always

    def hold(
        self,
        store: BlobStore,
        blobs: Sequence[Blob],
        heard: Callable[[int], None] = lambda _: None,
    ) -> HeldFiles:
        """Make room for files, and keep it for as long as the answer, or this process, lives.

        Args:
            store: where they are.
            blobs: which they are.
            heard: told of bytes as they come to hand, by any thread.

        Raises:
            ConfigError: they are more than the cache may ever hold; names the key.
            StorageFull: there is no room just now, beside what others use.
            BlobError: the folder cannot be used.
        """
        copied = {
            blob.digest: blob.size_bytes
            for blob in blobs
            if self._copy_always or store.in_place(blob.key) is None
        }
        with writing(self._folder, "used for copies (cache.folder)"):
            for name in _FOLDERS:
                (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            claim = self._claim(copied) if copied else None
        return HeldFiles(self._folder, store, claim, heard)

    def _claim(self, wanted: dict[str, int]) -> Claim:
        refuse_cache(self._size_bytes, {"this job": sum(wanted.values())})
        with alone(self._folder / "lock"):
            used = claimed(self._folder / "claims") | wanted
            for partial in (self._folder / "partial").iterdir():
                if partial.name not in used:  # nobody who lives is making it
                    shutil.rmtree(partial)
            self._make_room(used)
            there = {copy.digest for copy in self._copies()}
            missing = [size for digest, size in wanted.items() if digest not in there]
            fields = {"files": len(wanted), "missing": len(missing), "bytes": sum(missing)}
            log.info("copies", extra={"fields": fields})
            return Claim(self._folder / "claims", wanted)

    def _make_room(self, used: Mapping[str, int]) -> None:
        copies = self._copies()
        idle = sum(copy.size_bytes for copy in copies if copy.digest not in used)
        needed, room, mend = sum(used.values()), self._disk_bytes(copies), "free some there"
        if 0 < self._size_bytes < room:
            room, mend = self._size_bytes, "raise cache.size_gb, or have fewer islands on a node"
        if needed > room:
            raise StorageFull(
                f"{self._folder.absolute()} on {platform.node()} has room for {room / 1e9:.3f} GB "
                f"of shards, and those in use there would take {needed / 1e9:.3f}; {mend}"
            )
        for copy in giving_way(copies, used, needed + idle - room):
            (self._folder / "copies" / copy.digest).unlink()
            (self._folder / "seen" / copy.digest).unlink(missing_ok=True)
            log.info("evicted", extra={"fields": {"file": copy.digest, "bytes": copy.size_bytes}})

    def _disk_bytes(self, copies: Sequence[Copy]) -> int:
        """What all copies could take together, if each could go."""
        there = sum(copy.size_bytes for copy in copies)
        for path in (self._folder / "partial").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # complete meanwhile, or given up
                there += path.stat().st_size
        return there + shutil.disk_usage(self._folder).free

    def _copies(self) -> list[Copy]:
        found = []
        for path in (self._folder / "copies").iterdir():
            if _DIGEST.fullmatch(path.name):  # whatever else lies there is somebody's own
                seen = self._folder / "seen" / path.name
                used_at_ns = seen.stat().st_mtime_ns if seen.exists() else 0
                found.append(Copy(path.name, path.stat().st_size, used_at_ns))
        return found


def open_cache(section: CacheSection, run_uri: str) -> NodeCache:
    """The cache a configuration asks for, for a run at this URI."""
    folder = Path(section.folder).expanduser() if section.folder else layout.cache_folder(run_uri)
    return NodeCache(folder, section.size_bytes, copy_always=section.copy_always)
