"""The stage behind ``atoll average``: checkpoints with averages of a length nobody tracked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from atoll import checkpoints, layout, stages
from atoll.averaged import stage_of
from atoll.blob_checks import writing
from atoll.blobs import BlobStore
from atoll.checkpoints import CheckpointFolder, Compat
from atoll.digests import digest_of
from atoll.errors import BadInput, CheckpointDamaged
from atoll.types import CheckpointRef
from experts.files import EMA, HISTORY, average_file
from experts.reconstruction import Mixture, Profile, mixed, mixture_of
from experts.tensors import StoredTensors

_MOST_ERROR = 0.2  # of a profile: beyond, the average is of another length than it is called


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint with a new average, and what it came from.

    Attributes:
        job: whose.
        step: at which it ends.
        checkpoints: that were used.
        error: see :class:`experts.reconstruction.Mixture`.
    """

    job: str
    step: int
    checkpoints: int
    error: float


def make_averages(
    store: BlobStore,
    length: float,
    kept: Mapping[str, Iterable[CheckpointRef]],
    cache: Path,
) -> list[Made]:
    """Averages of a length for all experts, and the monolith if there is one, at their last steps.

    Args:
        store: where the run is.
        length: see :class:`experts.reconstruction.Profile`.
        kept: checkpoints that are still there, by job.
        cache: folder for copies from a store that is not on this machine.

    Raises:
        StageMissing: the experts are not trained yet.
        BadInput: no power profiles were tracked, or too few checkpoints are left.
        CheckpointDamaged: a file of one is gone, or not what was written.
        StorageFull: no space left.
    """
    trained = stages.require(store, "train", "average")
    before = stages.find(store, stage_of(length)) or {}
    rows, result = list[Made](), dict[str, Any]()
    for job, tree in trained.items():
        refs = _up_to(CheckpointRef(**tree), kept.get(job, ()))
        folders = [checkpoints.download(store, ref, cache, names=()) for ref in refs]
        lengths = _lengths(folders[-1])
        tracked = [Profile(ref.step, each) for ref in refs for each in lengths]
        mixture = mixture_of(tracked, Profile(refs[-1].step, length))
        if mixture.error > _MOST_ERROR:
            raise BadInput(
                f"--length {length:g}: with the checkpoints of {job} that are left, {len(refs)}, "
                f"it would be {mixture.error:.0%} off; choose a length nearer to "
                f"training.ema_lengths = {lengths}, or let runs keep more checkpoints by "
                "checkpoints.keep_every_steps"
            )
        key = layout.average_folder(job, length, digest_of([ref.digest for ref in refs]))
        result[job] = before.get(job, {})
        if result[job].get("key") != key or not _is_whole(store, CheckpointRef(**result[job])):
            told = {"ema_lengths": [length], "ema_error": mixture.error}
            weights = mixed(_averages(store, folders, mixture, cache))
            last = checkpoints.download(store, refs[-1], cache, names=(HISTORY,))
            result[job] = asdict(_stored(store, key, last, told, weights))
        rows.append(Made(job, refs[-1].step, len(refs), mixture.error))
    stages.finish(store, stage_of(length), {"length": length}, result)
    return rows


def _is_whole(store: BlobStore, ref: CheckpointRef) -> bool:
    """Whether an average is still there, which anybody may delete."""
    try:
        checkpoints.require_whole(store, ref)
    except CheckpointDamaged:
        return False
    return True


def _lengths(last: CheckpointFolder) -> list[float]:
    """Of the averages that a job tracked, in all of its checkpoints."""
    lengths: list[float] = last.about.get("ema_lengths", [])
    if not lengths:
        raise BadInput(
            f"{last.about['role']}s of this run were trained with training.ema_profile = "
            '"exponential", and averages of that make none of another length; train with "power" '
            "under a run.uri of its own"
        )
    return lengths


def _up_to(last: CheckpointRef, kept: Iterable[CheckpointRef]) -> list[CheckpointRef]:
    """One checkpoint of each step, in order; of the same step that of the newest lease."""
    by_epoch = sorted((ref for ref in kept if ref.step < last.step), key=lambda ref: ref.epoch)
    by_step = {ref.step: ref for ref in by_epoch}
    return [by_step[step] for step in sorted(by_step)] + [last]


def _stored(
    store: BlobStore,
    key: str,
    last: CheckpointFolder,
    told: dict[str, Any],
    weights: Mapping[str, Tensor],
) -> CheckpointRef:
    """A checkpoint of its own: the last one's curve, an average, and what is told of that."""
    store.delete(store.list(key))  # what an interrupted command left there
    with writing("an average"), tempfile.TemporaryDirectory() as work_dir:
        save_file(dict(weights), Path(work_dir) / EMA)
        shutil.copy(last.files[HISTORY], Path(work_dir) / HISTORY)
        return checkpoints.upload(
            store,
            key,
            Path(work_dir),
            step=last.ref.step,
            epoch=last.ref.epoch,
            compat=Compat(**{**last.compat, "shape": tuple(last.compat["shape"])}),
            about={**last.about, **told},
        )


def _averages(
    store: BlobStore, folders: list[CheckpointFolder], mixture: Mixture, cache: Path
) -> Iterator[tuple[float, Mapping[str, Tensor]]]:
    """Parts and weights, each read when it is asked for."""
    parts = iter(mixture.parts)
    for folder in folders:
        names = [average_file(number) for number, _ in enumerate(_lengths(folder))]
        files = checkpoints.download(store, folder.ref, cache, names=names).files
        for name in names:
            yield next(parts), StoredTensors([files[name]])
