"""The far end of a connection to a host: keeps the nodes of a run there, as it is asked to.

``python -m cluster.host FOLDER LABEL NODE`` says who it is, and then answers each call: one line of
JSON on its standard input, one on its output. Nodes go on when it ends. See :mod:`cluster.ssh_link`
for the near end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atoll import __version__
from atoll.errors import ConfigError, IslandError
from cluster import processes
from cluster.local import LocalProvider
from cluster.processes import ProcessId
from cluster.provider import NodeSpec

# Longer than any pause between two calls: whoever is silent for so long was cut off.
_SILENCE_S = 180


class Untouched(IslandError):
    """A host was not reached, or declined: nothing has changed there."""


class Host:
    """The nodes of one run on this machine, one at a time of all runs together.

    Of an island of several it has one; that others live elsewhere is for the near end to know.
    """

    def __init__(self, folder: Path, label: str, node: str) -> None:
        """Keep them below a folder, which several machines may share.

        Args:
            folder: of all runs.
            label: of the run.
            node: what this machine is called among those of an island.
        """
        self._folder = folder.expanduser().resolve() / socket.gethostname()
        self._label = label
        self._islands = self._folder / quote(label, safe="")
        self._provider = LocalProvider(self._islands, node)

    @property
    def greeting(self) -> dict[str, Any]:
        """Who this is; two names of one machine lead to the same."""
        boot = ProcessId.of(os.getpid()).born.partition("/")[0]
        return {
            "atoll": __version__,
            "machine": f"{boot} {self._folder}",
            "num_gpus": self._provider.capabilities().num_gpus,
        }

    def check(self, spec: dict[str, Any], run: str) -> None:
        """Refuse what can never run here.

        Args:
            spec: of a node.
            run: folder of the run; "" if it is in none.

        Raises:
            ConfigError: it cannot.
        """
        self._provider.validate(_spec(spec))
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(b"tried")
        except OSError as error:
            raise _not_writable(self._folder, error) from error
        if run and not os.access(run, os.W_OK):
            raise ConfigError(
                f"run.uri = {run} is no folder there that can be written, and islands read data "
                "and write checkpoints there; put the run into a bucket, or on a disk all mount"
            )

    def submit(self, spec: dict[str, Any], key: str) -> dict[str, Any]:
        """Start a node, unless one is at work here; of several also one that has ended.

        Raises:
            Untouched: one is.
            ConfigError: it can never run here.
            IslandError: it could not be started.
        """
        wanted = _spec(spec)
        known = {node.island: node for node in self._provider.list(self._label)}.get(wanted.island)
        if known is None or (wanted.num_nodes > 1 and not known.alive):
            self._provider.validate(wanted)
            own = processes.working_in(self._islands / wanted.island)  # what outlived its agent
            if at_work := set(processes.working_in(self._folder)).difference(own):
                pid = min(process.pid for process in at_work)
                raise Untouched(f"an island is at work there (process {pid})")
        return asdict(self._provider.submit(wanted, key))

    def is_idle(self) -> bool:
        """Whether no island is at work here, of whichever run."""
        return not processes.working_in(self._folder)

    def list(self) -> list[dict[str, Any]]:
        """All nodes of the run, dead ones included."""
        return [asdict(node) for node in self._provider.list(self._label)]

    def logs(self, island: str, num_lines: int) -> str:
        """The last lines its agent wrote."""
        return self._provider.logs(island, num_lines)

    def drain(self, island: str) -> None:
        """Ask an agent to leave."""
        self._provider.drain(island)

    def cancel(self, island: str) -> None:
        """Stop whatever is left of a node."""
        self._provider.cancel(island)

    def answer(self, call: str, *given: Any) -> dict[str, Any]:
        """What a call comes to; whoever else calls on this machine waits meanwhile."""
        calls: dict[str, Callable[..., Any]] = {
            "check": self.check,
            "submit": self.submit,
            "is_idle": self.is_idle,
            "list": self.list,
            "logs": self.logs,
            "drain": self.drain,
            "cancel": self.cancel,
        }
        try:
            with _alone(self._folder):
                return {"value": calls[call](*given)}
        except (ConfigError, Untouched, IslandError) as error:
            return {"error": type(error).__name__, "words": str(error)}


def _spec(tree: dict[str, Any]) -> NodeSpec:
    spec = NodeSpec(**tree)
    return replace(spec, agent=tuple(spec.agent))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody starts what another is stopping, or beside what another is starting."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise _not_writable(folder, error) from error
    with lock:
        yield


def _not_writable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{folder} cannot be written there ({error.strerror}); set ssh.folder to a folder that can"
    )


def main() -> None:
    """Say who this is, and answer until nobody asks any more."""
    folder, label, node = sys.argv[1:]
    host = Host(Path(folder), label, node)
    _say(host.greeting)
    while True:
        signal.alarm(_SILENCE_S)
        line = sys.stdin.readline()
        signal.alarm(0)
        if not line:
            return
        _say(host.answer(*json.loads(line)))


def _say(tree: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(tree)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
