"""Who uses what of a cache: said in files that count for as long as their writers live."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path


class Claim:
    """What one process uses, or is about to fetch; it ends with this object, or the process.

    Made, and looked at, inside :func:`alone` only.

    Args:
        folder: of all claims.
        sizes: bytes of each file, by digest.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        path = folder / f"{os.getpid()}-{os.urandom(8).hex()}.json"
        path.write_text(json.dumps(dict(sizes)), encoding="utf-8")
        # Not a file object, whose end would warn that nobody closed it.
        held = os.open(path, os.O_RDWR)
        weakref.finalize(self, os.close, held)
        fcntl.flock(held, fcntl.LOCK_EX)


def claimed(folder: Path) -> dict[str, int]:
    """All that living processes claim, by digest; claims of dead ones are deleted."""
    found: dict[str, int] = {}
    for path in folder.iterdir():
        with path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found |= json.load(file)
            else:
                path.unlink()
    return found


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same path; the kernel lets go of a dead one's."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
