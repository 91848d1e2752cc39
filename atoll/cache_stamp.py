"""How a file looked when its bytes were last found right, so that they need not be read again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from atoll.private_files import version_of


class Stamp:
    """The record of one digest. Who has opened it has it alone.

    It holds the file's number, size, and the time of its last change of any kind, which every write
    through the file system moves on and no program can set back. Its own time is that of the last
    use.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path) -> Iterator[Stamp]:
        """The stamp at a path, locked; waits for whoever else has it."""
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield cls(file)

    def fits(self, path: Path) -> bool:
        """Whether the file is the one whose bytes were found right, unchanged since."""
        self._file.seek(0)
        try:
            seen = json.load(self._file)
        except ValueError:  # new, cleared, or cut short with its writer
            return False
        os.utime(self._file.fileno())
        return bool(seen == list(version_of(path)))

    def set(self, path: Path) -> None:
        """The file's bytes were found right."""
        self.clear()
        self._file.write(json.dumps(version_of(path)))

    def clear(self) -> None:
        """Its bytes have to be read again before they are used."""
        self._file.truncate(0)
