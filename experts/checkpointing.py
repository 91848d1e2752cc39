"""Writing a trainer's checkpoints while it goes on, and reading them back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import async_save

from atoll import checkpoints, layout
from atoll.blobs import BlobStore
from atoll.checkpoints import Compat
from atoll.errors import CheckpointMismatch
from atoll.types import Assignment, CheckpointRef
from experts.engine import Snapshot
from experts.files import EMA, GRID, HISTORY, PROGRESS, STATE
from experts.tensors import StoredTensors, file_numbers


@dataclass(frozen=True, slots=True)
class Position:
    """How far a job is: optimizer steps done, and samples consumed by all processes together."""

    step: int = 0
    cursor: int = 0

    def after(self, num_samples: int) -> Position:
        """The position one step later."""
        return Position(self.step + 1, self.cursor + num_samples)

    def beyond(self, num_samples: int) -> Position:
        """The same step, past so many samples in all if it is not there yet."""
        return Position(self.step, max(self.cursor, num_samples))


@dataclass(frozen=True, slots=True)
class Saved:
    """What a trainer goes on from.

    Attributes:
        snapshot: of the engine.
        position: where it stands.
        history: see :meth:`experts.history.History.as_json`.
        guard: see :meth:`experts.guard.Guard.as_json`; None where the writer had none.
    """

    snapshot: Snapshot
    position: Position
    history: dict[str, Any]
    guard: dict[str, Any] | None


def load(store: BlobStore, assignment: Assignment, cache: Path) -> Saved | None:
    """Read the checkpoint a job goes on from, every byte verified.

    Args:
        store: where the run is.
        assignment: names the checkpoint, and the digest of the job.
        cache: folder for copies from a store that is not on this machine.

    Returns:
        None if the job has not begun yet.

    Raises:
        CheckpointDamaged: a file is gone, or a byte of it is not what was written; names both.
        CheckpointMismatch: another job, or other settings, wrote it.
    """
    ref = assignment.checkpoint
    if ref is None:
        return None
    files = checkpoints.download(store, ref, cache).files
    progress = json.loads(files[PROGRESS].read_text(encoding="utf-8"))
    if progress["digest"] != assignment.spec.digest:
        raise CheckpointMismatch(
            f"checkpoint {ref.key} was written under other settings than this job's; "
            "give new settings a run.uri of their own"
        )
    state = [
        path
        for name, path in files.items()
        if name.startswith(STATE) and name.endswith(".safetensors")
    ]
    snapshot = Snapshot(
        network=StoredTensors(state, "network."),
        optimizer=StoredTensors(state, "optimizer."),
        average=StoredTensors([files[EMA]]),
        num_averaged=StoredTensors(state)["num_averaged"],
    )
    points = json.loads(files[HISTORY].read_text(encoding="utf-8"))
    history = {"points": points, "recent": progress["recent"]}
    position = Position(progress["step"], progress["cursor"])
    return Saved(snapshot, position, history, progress.get("guard"))


class CheckpointWriter:
    """Writes, uploads and reports checkpoints in the background, one at a time.

    Args:
        store: where the run is.
        assignment: names the folder of the checkpoints.
        compat: for their manifests.
        about: for their manifests.
        work_dir: on this machine, for the files until they are uploaded.
    """

    def __init__(
        self,
        store: BlobStore,
        assignment: Assignment,
        compat: Compat,
        about: dict[str, Any],
        work_dir: Path,
    ) -> None:
        self._store, self._assignment, self._work_dir = store, assignment, work_dir
        self._compat, self._about = compat, about
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[CheckpointRef] | None = None

    def begin(self, saved: Saved, grid: bytes | None) -> None:
        """Copy what must not change and return; the rest happens behind the next steps.

        The checkpoint before must have been collected.

        Args:
            saved: the state after a step.
            grid: a PNG, for the last checkpoint of a job.
        """
        assert self._pending is None
        folder = self._work_dir / f"staging-{saved.position.step:08d}"
        shutil.rmtree(folder, ignore_errors=True)
        snapshot = saved.snapshot
        average = {key: part.detach().cpu().clone() for key, part in snapshot.average.items()}
        rest = {
            **{f"network.{name}": part for name, part in snapshot.network.items()},
            **{f"optimizer.{name}": part for name, part in snapshot.optimizer.items()},
            "num_averaged": snapshot.num_averaged,
        }
        writer = HuggingFaceStorageWriter(str(folder / STATE), file_numbers(rest))
        written = async_save(rest, storage_writer=writer, no_dist=True)
        assert isinstance(written, Future)
        progress = {
            **asdict(saved.position),
            "digest": self._assignment.spec.digest,
            "recent": saved.history["recent"],
            "guard": saved.guard,
        }
        files = {
            PROGRESS: json.dumps(progress).encode(),
            HISTORY: json.dumps(saved.history["points"], indent=1).encode(),
            **({} if grid is None else {GRID: grid}),
        }
        self._pending = self._thread.submit(
            self._publish, folder, saved.position.step, written, average, files
        )

    def collect(self, *, wait: bool) -> CheckpointRef | None:
        """The checkpoint that was begun, once, when it is complete; None if there is none yet.

        Raises:
            StorageFull: no space left in the store; nothing was published.
            OSError: the same on this machine, or another failure of its disk.
        """
        if self._pending is None or not (wait or self._pending.done()):
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    def _publish(
        self,
        folder: Path,
        step: int,
        written: Future[Any],
        average: dict[str, Tensor],
        files: Mapping[str, bytes],
    ) -> CheckpointRef:
        epoch, job = self._assignment.lease.epoch, self._assignment.spec.name
        key = layout.checkpoint_folder(job, epoch, step, self._assignment.restarts)
        try:
            _finish(written)
            (folder / EMA).write_bytes(save(average))
            for name, data in files.items():
                (folder / name).write_bytes(data)
            return checkpoints.upload(
                self._store,
                key,
                folder,
                step=step,
                epoch=epoch,
                compat=self._compat,
                about=self._about,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _finish(written: Future[Any]) -> None:
    """Wait for torch's part; what went wrong there comes out as it was."""
    try:
        written.result()
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from error
