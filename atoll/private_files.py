"""Files that only their owner can read."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from atoll.errors import ConfigError


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises: OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made so that at no moment anybody else can open it.
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(number)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def version_of(path: Path) -> tuple[int, int, int]:
    """What is another whenever a file, or who may read it, is another; zeros while it is not there.

    The time of its last change of any kind, which no program can set back.
    """
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_ctime_ns, status.st_size


def read_private(path: Path) -> bytes:
    """What is in a file that holds a secret.

    Raises:
        ConfigError: it cannot be read, or can be by others.
    """
    try:
        # A pipe is no file that lies about.
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise ConfigError(f"{path} can be read by others; chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
