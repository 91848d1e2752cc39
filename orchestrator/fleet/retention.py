"""Which checkpoints are kept, and which files below a run nobody needs any more. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from atoll import layout
from atoll.types import CheckpointRecord, JobState, Keeping
from orchestrator.fleet.state import Job


@dataclass(frozen=True, slots=True)
class Retention:
    """What a run asks to be kept of each job, besides its newest checkpoint.

    Attributes:
        last: the newest so many.
        every_steps: those at a multiple of so many steps; 0 for none.
        best: so many with the lowest loss.
    """

    last: int
    every_steps: int
    best: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """What can go.

    Attributes:
        records: checkpoints that are to be kept no longer.
        keys: files to delete: theirs, and what interrupted or outpaced islands left behind.
        num_bytes: their size.
    """

    records: tuple[CheckpointRecord, ...]
    keys: tuple[str, ...]
    num_bytes: int


def reasons(
    records: Sequence[CheckpointRecord], referenced: Set[str], retention: Retention
) -> dict[str, list[str]]:
    """Why each checkpoint of a job is kept, by its key; one without a reason may go.

    Args:
        records: of one job.
        referenced: keys that finished stages name.
        retention: what is asked for.
    """
    kept = sorted(
        (record for record in records if record.keeping is Keeping.KEPT),
        key=lambda record: record.ref.step,
    )
    why: dict[str, list[str]] = {record.ref.key: [] for record in kept}
    if kept:
        why[kept[-1].ref.key].append("newest")
    for record in kept[-retention.last : -1]:
        why[record.ref.key].append(f"last {retention.last}")
    judged = [record for record in kept if math.isfinite(record.loss)]
    for record in sorted(judged, key=lambda record: record.loss)[: retention.best]:
        why[record.ref.key].append("best")
    for record in kept:
        if retention.every_steps and record.ref.step % retention.every_steps == 0:
            why[record.ref.key].append(f"every {retention.every_steps}")
        if record.ref.key in referenced:
            why[record.ref.key].append("stage")
    return why


def garbage_of(
    job: Job,
    records: Sequence[CheckpointRecord],
    sizes: Mapping[str, int],
    referenced: Set[str],
    retention: Retention,
) -> Garbage:
    """What can go of one job's files.

    Nothing that was written under the current lease goes, nor under epochs which a database that is
    gone granted, nor what a stage names, nor what is no checkpoint.

    Args:
        job: as it stands; looked at before ``sizes`` was.
        records: all its checkpoints that the registry knows.
        sizes: bytes of every file in its folder, by key.
        referenced: keys of checkpoints that finished stages name.
        retention: what is asked for.
    """
    stays = {key for key, why in reasons(records, referenced, retention).items() if why}
    stays |= referenced | ({job.checkpoint.key} if job.checkpoint else set())
    # The bytes of a damaged one may still be mended, until the job has come as far again.
    stays |= {
        record.ref.key
        for record in records
        if record.keeping is Keeping.DAMAGED and record.ref.step > job.step
    }
    known = {record.ref.key for record in records}
    leaving = [
        record
        for record in records
        if record.keeping is Keeping.KEPT and record.ref.key not in stays
    ]
    keys = [
        key
        for key in sizes
        if (folder := layout.checkpoint_of(key)) not in stays
        and folder
        and (folder in known or _is_abandoned(job, layout.epoch_of(key)))
    ]
    return Garbage(tuple(leaving), tuple(keys), sum(sizes[key] for key in keys))


def _is_abandoned(job: Job, epoch: int) -> bool:
    """Whether nothing written under an epoch, and not published, ever will be."""
    if epoch <= job.foreign_epoch:
        return False
    return epoch < job.epoch or (epoch == job.epoch and job.state is not JobState.LEASED)
