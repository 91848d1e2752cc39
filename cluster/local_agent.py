"""One agent as a process of this machine, with files that outlive it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from atoll.private_files import write_private
from cluster import processes, state_file
from cluster.processes import Detached, ProcessId

_TOKEN = "join-token.pem"  # noqa: S105 - the name of its file


@dataclass(frozen=True, slots=True)
class Record:
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
    def read(cls, path: Path) -> Record | None:
        """What is kept in a file, if anything is."""
        tree = state_file.read(path)
        if tree is None:
            return None
        process = tree["process"] and ProcessId(**tree["process"])
        return cls(tree["key"], tree["label"], process, tree["cleared"])


class LocalAgent:
    """The agent of one node, with the folder of its log and its record, started yet or not."""

    def __init__(self, record_at: Path, log: Path, work: Path) -> None:
        """Know where everything of it is.

        Args:
            record_at: file that says what was started; its folder is the node's.
            log: file that gets what it writes.
            work: folder of agent and trainer; gone with the node, unlike the others.
        """
        self.record_at = record_at
        self.log = log
        self._work = work
        self._child: Detached | None = None
        self._known: Record | None = None  # as on the disk

    @property
    def record(self) -> Record | None:
        """What is kept of it; None if it was never started."""
        if self._known is None:
            self._known = Record.read(self.record_at)
        return self._known

    @property
    def is_alive(self) -> bool:
        """Whether its agent runs."""
        return bool(self._agent())

    @property
    def code(self) -> int | None:
        """How its agent ended; None while it runs, or if nobody was there to see."""
        return self._child.poll() if self._child else None  # collects it too

    def start(self, command: Sequence[str], record: Record, token: str) -> None:
        """Start its agent; what an earlier one left is cleared away.

        Args:
            command: of the agent, without its folder and its token.
            record: under what.
            token: what lets it join; "" for nothing.

        Raises:
            OSError: it cannot be started.
        """
        if self.record:
            self._clear()
        self._work.mkdir(parents=True, exist_ok=True)
        whole = [*command, "--work-dir", str(self._work)]
        if token:
            # Never among the arguments: every process of the machine may read those.
            write_private(self._work / _TOKEN, token.encode())
            whole += ["--join", str(self._work / _TOKEN)]
        # First, so that an agent nobody knows of cannot be: its name is taken, and whatever works
        # in its folder is found.
        self._keep(record)
        self._child = Detached(whole, self.log)
        self._keep(replace(record, process=ProcessId.of(self._child.pid)))

    def drain(self) -> None:
        """Ask the agent to leave."""
        for agent in self._agent():
            with suppress(psutil.NoSuchProcess):
                agent.terminate()

    def cancel(self) -> None:
        """Stop whatever is left of it."""
        self._clear()
        if self.record is not None:
            with suppress(OSError):  # no room to write it down: cleared once more some day
                self._keep(replace(self.record, cleared=True))

    def _clear(self) -> None:
        # One that was only just started may not show its command line yet.
        processes.kill([*self._agent(), *processes.working_in(self._work)])
        shutil.rmtree(self._work, ignore_errors=True)
        if self._child:
            self._child.poll()

    def _agent(self) -> Sequence[psutil.Process]:
        """The process of its agent, if that lives."""
        agent = self.record.process.find() if self.record and self.record.process else None
        return [agent] if agent else []

    def _keep(self, record: Record) -> None:
        self._known = record
        state_file.write(self.record_at, asdict(record))
