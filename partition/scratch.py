"""Room on this machine for what is too large for memory."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atoll.blob_checks import is_full
from atoll.errors import StorageFull

_LOCK = "lock"  # held as long as its folder is used; the kernel lets go of a dead process's


@contextlib.contextmanager
def scratch(parent: Path, stage: str) -> Iterator[Path]:
    """A folder that is gone afterwards; those that killed processes have left there go first.

    Args:
        parent: where it is made.
        stage: begins its name.

    Raises:
        StorageFull: no space left there, or for what is written inside.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, stage)
        with (
            tempfile.TemporaryDirectory(prefix=f"{stage}-", dir=parent) as folder,
            (Path(folder) / "fresh").open("wb") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Others look for it by this name, so that they never meet one that is not held yet.
            (Path(folder) / "fresh").rename(Path(folder) / _LOCK)
            yield Path(folder)
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                f"no space or quota left in {parent}; free some and run the same command again"
            ) from error
        raise


def _sweep(parent: Path, stage: str) -> None:
    """Delete folders whose processes are gone."""
    for path in parent.glob(f"{stage}-*/{_LOCK}"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), path.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)
