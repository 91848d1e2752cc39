"""What tells a run on this machine from others: its name, and its one orchestrator."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from atoll.clock import Clock
from atoll.errors import BadInput
from cluster.processes import ProcessId

_FILE = "orchestrator.json"
_LOCK = "orchestrator.lock"
_IDENTITY = "run-id"
_PATIENCE_S = 15.0  # a former orchestrator may be on its way out


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A serving orchestrator.

    Attributes:
        address: ``host:port``.
        process: who serves.
    """

    address: str
    process: ProcessId

    @classmethod
    def read(cls, folder: Path) -> Endpoint | None:
        """What the last orchestrator of a run wrote, whether it still lives or not."""
        try:
            tree = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(tree["address"], ProcessId(**tree["process"]))

    @classmethod
    def publish(cls, folder: Path, address: str) -> None:
        """Tell that this process serves; readers see the whole file or none."""
        endpoint = cls(address, ProcessId.of(os.getpid()))
        _write(folder / _FILE, json.dumps(asdict(endpoint)))

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        return self.process.find() is not None


def identity(folder: Path) -> str:
    """A name for a run that stays when its folder is moved, or its URI spelled another way."""
    path = folder / _IDENTITY
    if not path.exists():
        _write(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


@contextlib.contextmanager
def only_one(folder: Path, clock: Clock) -> Iterator[None]:
    """Inside, no other process serves this run. The kernel ends the promise with the process.

    Raises:
        BadInput: another one does, and goes on doing so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        give_up_at = clock.monotonic() + _PATIENCE_S
        while not _locked(lock.fileno()):
            if clock.monotonic() > give_up_at:
                raise BadInput(f"another orchestrator serves this run already; see {folder}")
            clock.sleep(0.1)
        yield


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
