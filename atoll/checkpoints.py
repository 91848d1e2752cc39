"""A checkpoint in the blob store: a folder of files, and a manifest that lists their digests.

The manifest's own digest stands in the :class:`~atoll.types.CheckpointRef`, so whoever holds a
reference can tell every damaged or exchanged byte below it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.blobs import BlobStore
from atoll.config import digest_of
from atoll.errors import BlobDamaged, BlobMissing, CheckpointMismatch
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
        files: local path of each file, by its name in the checkpoint.
        compat: see :class:`Compat`, as JSON.
        about: what else the writer recorded: role, network sizes, EMA decay, losses.
    """

    ref: CheckpointRef
    files: dict[str, Path]
    compat: dict[str, Any]
    about: dict[str, Any]


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


def download(store: BlobStore, ref: CheckpointRef, cache: Path) -> CheckpointFolder:
    """Bring a checkpoint to this machine and verify every byte of it.

    Raises:
        BlobMissing: a file is gone.
        BlobDamaged: a file, or the manifest, does not match its digest.
    """
    try:
        manifest = json.loads(store.get_bytes(f"{ref.key}/{MANIFEST}", ref.digest))
        files = {
            name: store.fetch(f"{ref.key}/{name}", entry["sha256"], cache)
            for name, entry in manifest["files"].items()
        }
    except BlobDamaged as error:
        raise BlobDamaged(f"checkpoint {ref.key} at step {ref.step}: {error}") from error
    return CheckpointFolder(ref, files, manifest["compat"], manifest["about"])


def require_whole(store: BlobStore, ref: CheckpointRef) -> None:
    """Check that every file of a checkpoint is still there, without reading their bytes.

    Raises:
        BlobMissing: one is gone.
        BlobDamaged: the manifest does not match its digest.
    """
    manifest = json.loads(store.get_bytes(f"{ref.key}/{MANIFEST}", ref.digest))
    for name in manifest["files"]:
        if not store.exists(f"{ref.key}/{name}"):
            raise BlobMissing(
                f"checkpoint {ref.key} at step {ref.step} lacks {name}; restore it from a copy, or "
                "begin anew under another run.uri"
            )


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
