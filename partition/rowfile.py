"""A matrix on disk, so that memory does not grow with the number of samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHUNK_BYTES = 16 << 20


class RowFile:
    """Rows of float32, appended at the end and read back anywhere.

    Read with plain file calls and not through a memory map, whose pages would count as memory of
    this process.

    Args:
        path: the file; made if it is not there.
        width: numbers in a row.
    """

    def __init__(self, path: Path, width: int) -> None:
        self._path = path
        self.width = width
        path.touch()

    def __len__(self) -> int:
        """Number of rows."""
        return self._path.stat().st_size // self._row_bytes

    def append(self, rows: NDArray[np.float32]) -> None:
        """Write rows, (n, width), after those that are there."""
        with self._path.open("ab") as file:
            # Not tofile(), whose error on a full disk does not say that the disk is full.
            file.write(np.ascontiguousarray(rows, np.float32).data)

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """All rows in order, (n, width) at a time."""
        num = max(1, _CHUNK_BYTES // self._row_bytes)
        with self._path.open("rb") as file:
            while len(chunk := np.fromfile(file, np.float32, num * self.width)):
                yield chunk.reshape(-1, self.width)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Chosen rows, (n, width), in the order of ``indices``."""
        rows = np.empty((len(indices), self.width), np.float32)
        with self._path.open("rb", buffering=0) as file:
            for place in np.argsort(indices, kind="stable"):
                file.seek(int(indices[place]) * self._row_bytes)
                file.readinto(rows[place].data)
        return rows

    @property
    def _row_bytes(self) -> int:
        return self.width * np.dtype(np.float32).itemsize
