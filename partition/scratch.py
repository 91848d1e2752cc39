"""Room on this machine for what is too large for memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atoll.blob_checks import is_full
from atoll.errors import StorageFull


@contextlib.contextmanager
def scratch(parent: Path, stage: str) -> Iterator[Path]:
    """A folder that is gone afterwards.

    Args:
        parent: where it is made.
        stage: begins its name.

    Raises:
        StorageFull: no space left there, or for what is written inside.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{stage}-", dir=parent) as folder:
            yield Path(folder)
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                f"no space or quota left in {parent}; free some and run the same command again"
            ) from error
        raise
