"""What tells a run on this machine from others: its name, and its one orchestrator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from atoll.clock import Clock
from atoll.config import Config
from atoll.errors import BadInput
from atoll.provider_sections import PROVIDER_SECTIONS
from cluster import state_file
from cluster.processes import ProcessId

ENDPOINT_FILE = "orchestrator.json"
_LOCK = "orchestrator.lock"
_IDENTITY = "run-id"
_PATIENCE_S = 15.0  # a former orchestrator may be on its way out


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A serving orchestrator.

    Attributes:
        address: ``host:port``.
        run: the name of the run it serves, see :func:`orchestrator.naming.name_of`.
        settings: see :func:`settings_of`.
        process: who serves.
        secured: whether callers have to show certificates.
    """

    address: str
    run: str
    settings: str
    process: ProcessId
    secured: bool = False

    @classmethod
    def read(cls, folder: Path) -> Endpoint | None:
        """What the last orchestrator of a run wrote, whether it still lives or not.

        None where the folder is a copy of another run's: that one's orchestrator is not ours.
        """
        tree = state_file.read(folder / ENDPOINT_FILE)
        try:
            found = tree and cls(**{**tree, "process": ProcessId(**tree["process"])})
        except (KeyError, TypeError):
            return None
        return found if found and found.run == _known(folder) else None

    def publish(self, folder: Path) -> None:
        """Tell the processes of this machine; readers see the whole file or none."""
        state_file.write(folder / ENDPOINT_FILE, asdict(self))

    def keep(self, folder: Path) -> None:
        """Publish again, if a former leader that froze while it did so has put itself back."""
        if Endpoint.read(folder) != self:
            self.publish(folder)

    def withdraw(self, folder: Path) -> None:
        """Tell the processes of this machine that nobody serves here, unless another does."""
        if Endpoint.read(folder) == self:
            (folder / ENDPOINT_FILE).unlink(missing_ok=True)

    @property
    def is_alive(self) -> bool:
        """Whether the process that serves still runs."""
        return self.process.find() is not None

    def ends_within(self, seconds: float, clock: Clock) -> bool:
        """Whether the process that serves is gone, or goes within a time."""
        give_up_at = clock.monotonic() + seconds
        while (alive := self.is_alive) and clock.monotonic() < give_up_at:
            clock.sleep(0.1)
        return not alive


def this_process(address: str, run: str, settings: str, *, secured: bool = False) -> Endpoint:
    """The endpoint of an orchestrator that runs in this process."""
    return Endpoint(address, run, settings, ProcessId.of(os.getpid()), secured)


def settings_of(config: Config) -> str:
    """Digest of what an orchestrator goes by from its start to its end."""
    own = ("orchestrator", "membership", "checkpoints", "budget")
    return config.digest("island", *PROVIDER_SECTIONS, *own)


def identity(folder: Path) -> str:
    """A name for the run whose state is in a folder; a copy of the folder gets a name of its own.

    Every call to a control plane carries it, so that no island is taken for one of another run.
    """
    return _known(folder) or adopt(folder, uuid.uuid4().hex)


def adopt(folder: Path, run: str) -> str:
    """Give this name to the run whose state is in a folder."""
    if _known(folder) != run:
        state_file.write(folder / _IDENTITY, {"run": run, "folder": str(folder.resolve())})
    return run


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


def is_taken(folder: Path) -> bool:
    """Whether a process of this machine serves this run, or stands by to."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        return not _locked(lock.fileno())


def _known(folder: Path) -> str | None:
    """The name this very folder was given; None if it was not, or was copied from elsewhere."""
    tree = state_file.read(folder / _IDENTITY)
    if tree is None or tree.get("folder") != str(folder.resolve()):
        return None
    run: str | None = tree.get("run")
    return run


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
