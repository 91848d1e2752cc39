"""Deletes what nobody needs any more of a job's checkpoints, in an order that no crash can spoil.

First the registry says, durably, that they are kept no longer; only then are their files deleted.
Whatever a crash leaves in between belongs to no checkpoint that is kept, and goes the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from atoll import layout, stages
from atoll.blobs import BlobStore
from atoll.types import CheckpointRecord
from orchestrator.fleet.retention import Garbage, Retention, garbage_of
from orchestrator.fleet.state import Job
from orchestrator.storage.store import Store

# Told the job, the checkpoints that are kept no longer, and the bytes it frees; false keeps all.
Mark = Callable[[str, Sequence[CheckpointRecord], int], bool]

_STAGES = ("train", "route")


def referenced_in(blobs: BlobStore) -> set[str]:
    """Keys of the checkpoints that finished stages name. Raises: BlobError."""
    return {ref["key"] for name in _STAGES for ref in (stages.find(blobs, name) or {}).values()}


def find_garbage(
    jobs: Iterable[Job], store: Store, blobs: BlobStore, retention: Retention
) -> dict[str, Garbage]:
    """What can go, by job; jobs with nothing are left out.

    Args:
        jobs: as they stand now.
        store: the registry.
        blobs: where the checkpoints are.
        retention: what is kept.

    Raises:
        BlobError: the run's store cannot be listed.
        Unreachable: the database cannot be read.
    """
    referenced = referenced_in(blobs)
    found: dict[str, Garbage] = {}
    for job in jobs:
        name = job.spec.name
        # Listed after the job was looked at: what a later lease wrote is not taken for litter.
        sizes = blobs.sizes(layout.job_folder(name))
        garbage = garbage_of(job, store.checkpoints(name), sizes, referenced, retention)
        if garbage.records or garbage.keys:
            found[name] = garbage
    return found


def collect(job: str, garbage: Garbage, blobs: BlobStore, mark: Mark) -> bool:
    """Delete what can go of a job.

    Returns:
        Whether it was deleted.

    Raises:
        BlobError: not all could be deleted; the next time it is found again.
        Unreachable: the registry could not be written; nothing was deleted.
    """
    if not mark(job, garbage.records, garbage.num_bytes):
        return False
    blobs.delete(garbage.keys)
    return True
