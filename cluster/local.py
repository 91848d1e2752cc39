"""Islands as processes of this machine."""

from __future__ import annotations

import shutil
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from atoll.errors import ConfigError, IslandError
from atoll.private_files import write_private
from cluster import processes, state_file
from cluster.processes import Detached, ProcessId
from cluster.provider import Capabilities, Node, NodeSpec

AGENT_LOG = "agent.log"
WORK = "work"  # of agent and trainer; gone with the node, unlike the logs beside it
_RECORD = "node.json"
_TOKEN = "join-token.pem"  # noqa: S105 - the name of its file


class LocalProvider:
    """See :class:`cluster.provider.Provider`.

    Each node is a session of its own, with its log and a record of its process in a folder named
    for its island. The record outlives the orchestrator, so that the next one finds the node.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the nodes below ``folder``."""
        self._folder = folder.absolute()
        self._children: dict[str, Detached] = {}
        self._records: dict[str, _Record] = {}  # as on the disk

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`."""
        return Capabilities(num_gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))))

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`."""
        found = self.capabilities().num_gpus
        if spec.num_gpus > found:
            raise ConfigError(
                f"island.device = cuda needs {spec.num_gpus} GPUs for island.processes, and this "
                f"machine has {found}; set island.device to auto or cpu, or ask for fewer processes"
            )

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        before = self._record(spec.island)
        if before is not None and before.label == spec.label:
            if before.key != idempotency_key:
                raise IslandError(f"{spec.island} was started before; islands are never reused")
            return self._node(spec.island, before)
        home = self._folder / spec.island
        command = [sys.executable, "-P", "-m", "atoll", "agent", *spec.agent]
        command += ["--island", spec.island, "--work-dir", str(home / WORK)]
        try:
            (home / WORK).mkdir(parents=True, exist_ok=True)
            if spec.token:
                # Never among the arguments: every process of the machine may read those.
                write_private(home / WORK / _TOKEN, spec.token.encode())
                command += ["--join", str(home / WORK / _TOKEN)]
            # First, so that an agent nobody knows of cannot be: its name is taken, and whatever
            # works in its folder is found.
            record = _Record(idempotency_key, spec.label)
            self._keep(spec.island, record)
            child = self._children[spec.island] = Detached(command, home / AGENT_LOG)
            self._keep(spec.island, replace(record, process=ProcessId.of(child.pid)))
        except OSError as error:
            raise IslandError(f"{spec.island} could not be started: {error}") from error
        return Node(spec.island, alive=True)

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`."""
        if not self._folder.exists():
            return ()
        names = sorted(path.name for path in self._folder.iterdir())
        records = ((name, self._record(name)) for name in names)
        return tuple(
            self._node(name, record) for name, record in records if record and record.label == label
        )

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`."""
        return last_lines(self._folder / island / AGENT_LOG, num_lines)

    def drain(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        for agent in self._agent(island):
            with suppress(psutil.NoSuchProcess):
                agent.terminate()

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        work = self._folder / island / WORK
        # One that was only just started may not show its command line yet.
        processes.kill([*self._agent(island), *processes.working_in(work)])
        shutil.rmtree(work, ignore_errors=True)
        record = self._record(island)
        if record is not None:
            with suppress(OSError):  # no room to write it down: cleared once more some day
                self._keep(island, replace(record, cleared=True))

    def _node(self, island: str, record: _Record) -> Node:
        if record.process and record.process.find():
            return Node(island, alive=True)
        child = self._children.get(island)
        code = child.poll() if child else None  # once it is dead, not before; collects it too
        return Node(island, alive=False, reason=ending(code), cleared=record.cleared)

    def _agent(self, island: str) -> Sequence[psutil.Process]:
        """The process of its agent, if that lives."""
        record = self._record(island)
        agent = record.process.find() if record and record.process else None
        return [agent] if agent else []

    def _record(self, island: str) -> _Record | None:
        if island not in self._records:
            record = _Record.read(self._folder / island)
            if record is None:
                return None
            self._records[island] = record
        return self._records[island]

    def _keep(self, island: str, record: _Record) -> None:
        self._records[island] = record
        record.write(self._folder / island)


@dataclass(frozen=True, slots=True)
class _Record:
    """What is kept of a node.

    Attributes:
        key: what it was started under.
        label: of its run.
        process: its agent; None if starting it was cut short.
        cleared: whether it was cancelled.
    """

    key: str
    label: str
    process: ProcessId | None = None
    cleared: bool = False

    @classmethod
    def read(cls, home: Path) -> _Record | None:
        tree = state_file.read(home / _RECORD)
        if tree is None:
            return None
        process = tree["process"] and ProcessId(**tree["process"])
        return cls(tree["key"], tree["label"], process, tree["cleared"])

    def write(self, home: Path) -> None:
        state_file.write(home / _RECORD, asdict(self))


def last_lines(path: Path, num_lines: int) -> str:
    """The end of a text file; "" if there is none."""
    if not path.exists():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, maxlen=num_lines))


def ending(code: int | None) -> str:
    """How a process ended, in words.

    Args:
        code: as :class:`subprocess.Popen` gives it; None if nobody was there to see.
    """
    if code is None:
        return "its process has ended"
    if code < 0:
        return f"killed by signal {-code} ({_signal_name(-code)})"
    return f"exited with code {code}"


def _signal_name(number: int) -> str:
    """As in the manuals; real-time signals have none of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time"
