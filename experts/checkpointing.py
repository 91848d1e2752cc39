"""Writing a trainer's checkpoints while it goes on, and reading them back."""

from __future__ import annotations

import errno
import itertools
import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save

from atoll import checkpoints, layout
from atoll.blobs import BlobStore
from atoll.checkpoints import Compat
from atoll.errors import CheckpointMismatch
from atoll.types import Assignment, CheckpointRef
from experts.engine import Snapshot
from experts.files import GRID, HISTORY, PROGRESS, STATE, average_file
from experts.tensors import StoredTensors

_FILE_BYTES = 512 << 20  # of trainer's state, about


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
        history: see :meth:`experts.watching.history.History.as_json`.
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
    numbered = itertools.takewhile(files.__contains__, map(average_file, itertools.count()))
    averages = [files[name] for name in numbered]
    snapshot = Snapshot(
        network=StoredTensors(state, "network."),
        optimizer=StoredTensors(state, "optimizer."),
        averages=tuple(StoredTensors([path]) for path in averages),
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
        """Return at once; everything happens behind the next steps.

        The checkpoint before must have been collected.

        Args:
            saved: the state after a step.
            grid: a PNG, for the last checkpoint of a job.
        """
        assert self._pending is None
        folder = self._work_dir / f"staging-{saved.position.step:08d}"
        shutil.rmtree(folder, ignore_errors=True)
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
            self._publish, folder, saved.position.step, saved.snapshot, files
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
        snapshot: Snapshot,
        files: Mapping[str, bytes],
    ) -> CheckpointRef:
        epoch, job = self._assignment.lease.epoch, self._assignment.spec.name
        key = layout.checkpoint_folder(job, epoch, step, self._assignment.restarts)
        try:
            _write_state(snapshot, folder / STATE)
            for number, average in enumerate(snapshot.averages):
                _write_average(average, folder / average_file(number))
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


def _write_state(snapshot: Snapshot, folder: Path) -> None:
    """What only a trainer needs; what went wrong comes out as it was."""
    state = {"num_averaged": snapshot.num_averaged}
    for prefix, tensors in (("network", snapshot.network), ("optimizer", snapshot.optimizer)):
        state |= {f"{prefix}.{key}": tensor for key, tensor in tensors.items()}
    writer = HuggingFaceStorageWriter(str(folder), fqn_to_index_mapping=_files_of(state))
    try:
        save(state, storage_writer=writer, no_dist=True)
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from error


def _files_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Into which file, from 1, each tensor goes.

    A file is made up in memory first, while no other thread of the process comes to work: not even
    the one that tells that it lives.
    """
    number, room, files = 1, _FILE_BYTES, {}
    for key, tensor in state.items():
        if tensor.nbytes > room < _FILE_BYTES:
            number, room = number + 1, _FILE_BYTES
        files[key] = number
        room -= tensor.nbytes
    return files


def _write_average(average: Mapping[str, Tensor], path: Path) -> None:
    """In one file, for whoever samples; it is written from where the tensors are."""
    try:
        save_file(dict(average), path)
    except SafetensorError as error:
        # Its library tells of the disk in words alone: "I/O error: ... (os error 28)".
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error
