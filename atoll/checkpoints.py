"""A checkpoint in the blob store: a folder of files, and a manifest that lists their digests.

The manifest's own digest stands in the :class:`~atoll.types.CheckpointRef`, so whoever holds a
reference can tell every damaged or exchanged byte below it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.blob_checks import writing
from atoll.blobs import BlobStore
from atoll.digests import digest_of
from atoll.errors import BlobDamaged, BlobMissing, CheckpointDamaged, CheckpointMismatch
from atoll.types import CheckpointRef

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Compat:
    """What must agree before checkpoints may work together in one ensemble.

    Attributes:
        path: interpolation and time convention.
        space: what the networks see, ``pixels`` or the digest of a latent encoder.
        shape: channels, height, width.
        condition: ``none``, ``class:10``, ``text:<encoder>``.
        partition: digest of the partition.
    """

    path: str
    space: str
    shape: tuple[int, int, int]
    condition: str
    partition: str

    def as_json(self) -> dict[str, Any]:
        """The fields, as they stand in a manifest."""
        return {
            "path": self.path,
            "space": self.space,
            "shape": list(self.shape),
            "condition": self.condition,
            "partition": self.partition,
        }


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """A checkpoint brought to this machine, every file verified.

    Attributes:
        ref: what was asked for.
        files: local path of each file that was brought, by its name in the checkpoint.
        compat: see :class:`Compat`, as JSON.
        about: what else the writer recorded: role, network sizes, EMA decay, losses.
        num_bytes: of each file, brought or not, by its name.
    """

    ref: CheckpointRef
    files: dict[str, Path]
    compat: dict[str, Any]
    about: dict[str, Any]
    num_bytes: dict[str, int]


def upload(
    store: BlobStore,
    key: str,
    folder: Path,
    *,
    step: int,
    epoch: int,
    compat: Compat,
    about: dict[str, Any],
) -> CheckpointRef:
    """Store every file of a local folder below ``key``; the manifest goes last.

    Nothing counts as published until the reference is committed to the control plane.

    Raises:
        StorageFull: no space left.
        BlobExists: the key was used before.
    """
    blobs = [
        store.put_file(f"{key}/{path.relative_to(folder).as_posix()}", path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    manifest = {
        "step": step,
        "epoch": epoch,
        "compat": compat.as_json(),
        "about": about,
        "files": {
            blob.key.removeprefix(f"{key}/"): {"sha256": blob.digest, "bytes": blob.size_bytes}
            for blob in blobs
        },
    }
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    return CheckpointRef(key, store.put_bytes(f"{key}/{MANIFEST}", text).digest, step, epoch)


def download(
    store: BlobStore,
    ref: CheckpointRef,
    cache: Path,
    made_by: str = "",
    names: Collection[str] | None = None,
) -> CheckpointFolder:
    """Bring a checkpoint to this machine and verify every byte that is brought.

    Args:
        store: where the run is.
        ref: which.
        cache: folder for copies from a store that is not on this machine.
        made_by: the command that makes a damaged one again, to be named; "" for none.
        names: of the files to bring; None for all, and none of them for the description alone.

    Raises:
        CheckpointDamaged: a file is gone, or does not match its digest; names it.
    """
    mend = f"; `atoll {made_by} --verify` trains it again from the one before" if made_by else ""
    with _named(ref, mend):
        manifest = _manifest(store, ref)
        files = {
            name: store.fetch(f"{ref.key}/{name}", entry["sha256"], cache)
            for name, entry in manifest["files"].items()
            if names is None or name in names
        }
    num_bytes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    return CheckpointFolder(ref, files, manifest["compat"], manifest["about"], num_bytes)


def require_whole(store: BlobStore, ref: CheckpointRef) -> None:
    """Check that every file of a checkpoint is still there, without reading their bytes.

    Raises:
        CheckpointDamaged: one is gone, or the manifest does not match its digest.
    """
    with _named(ref):
        for name in _manifest(store, ref)["files"]:
            if not store.exists(f"{ref.key}/{name}"):
                raise BlobMissing(f"{ref.key}/{name} is missing")


def require_sound(store: BlobStore, ref: CheckpointRef) -> None:
    """Check every byte of a checkpoint, and leave nothing of it on this machine.

    Raises:
        CheckpointDamaged: a file is gone, or does not match its digest; names it.
    """
    with writing("a copy to verify"), _named(ref), tempfile.TemporaryDirectory() as cache:
        for name, entry in _manifest(store, ref)["files"].items():
            found = store.fetch(f"{ref.key}/{name}", entry["sha256"], Path(cache))
            if found.is_relative_to(cache):
                found.unlink()  # one file at a time


def _manifest(store: BlobStore, ref: CheckpointRef) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(store.get_bytes(f"{ref.key}/{MANIFEST}", ref.digest))
    return tree


@contextlib.contextmanager
def _named(ref: CheckpointRef, mend: str = "") -> Iterator[None]:
    """Inside, what is found missing or damaged is told of the checkpoint."""
    try:
        yield
    except (BlobDamaged, BlobMissing) as error:
        # What was found, without the mend for files that nobody can make again.
        finding = str(error).partition(";")[0]
        raise CheckpointDamaged(f"checkpoint at step {ref.step}: {finding}{mend}") from error


def require_equal(first: CheckpointFolder, other: CheckpointFolder) -> None:
    """Refuse to mix checkpoints that do not fit.

    Raises:
        CheckpointMismatch: names the first property that differs.
    """
    if digest_of(first.compat) == digest_of(other.compat):
        return
    keys = first.compat.keys() | other.compat.keys()
    key = next(k for k in sorted(keys) if first.compat.get(k) != other.compat.get(k))
    raise CheckpointMismatch(
        f"{first.ref.key} and {other.ref.key} do not fit together: {key} is "
        f"{first.compat.get(key)!r} in one and {other.compat.get(key)!r} in the other; "
        "use checkpoints of one run and one partition"
    )
