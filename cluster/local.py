"""Islands as processes of this machine."""

from __future__ import annotations

import itertools
import signal
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from atoll.errors import ConfigError, IslandError
from cluster.local_agent import LocalAgent, Record
from cluster.provider import Capabilities, Node, NodeSpec

AGENT_LOG = "agent.log"
WORK = "work"  # of agent and trainer; gone with the node, unlike the logs beside it
_RECORD = "node.json"


class LocalProvider:
    """See :class:`cluster.provider.Provider`.

    Each agent is a session of its own, with its log and a record of its process in a folder: that
    of its island, or of its node below it where the island has several. The record outlives the
    orchestrator, so that the next one finds the node.
    """

    def __init__(self, folder: Path, node: str = "") -> None:
        """Keep the nodes below a folder.

        Args:
            folder: for all of them.
            node: name of the one node that every island of several has on this machine, because its
                others are elsewhere; "" for all of them here.
        """
        self._folder = folder.absolute()
        self._node = node
        self._agents: dict[str, tuple[LocalAgent, ...]] = {}

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`."""
        num_gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
        return Capabilities(num_gpus=num_gpus)

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`."""
        found = self.capabilities().num_gpus
        if spec.num_gpus > found:
            raise ConfigError(
                f"island.device = cuda needs {spec.num_gpus} GPUs for island.processes, and this "
                f"machine has {found}; set island.device to auto or cpu, or ask for fewer processes"
            )
        if spec.num_gpus and spec.num_nodes > 1 and not self._node:
            raise ConfigError(
                f"island.nodes = {spec.num_nodes} would all be this machine, with the same GPUs; "
                "set it to 1 and raise island.processes, or set island.device to cpu"
            )

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        agents = self._known(spec.island, spec.num_nodes)
        records = [it.record for it in agents if it.record and it.record.label == spec.label]
        if any(record.key != idempotency_key for record in records):
            raise IslandError(f"{spec.island} was started before; islands are never reused")
        # Whether nodes live elsewhere, only who asks can tell.
        lives = bool(self._node) or any(agent.is_alive for agent in agents)
        lives = lives and not any(record.cleared for record in records)
        if not records or (spec.num_nodes > 1 and lives):
            for agent in agents:
                if not agent.is_alive:
                    self._start(agent, spec, idempotency_key)
        return _node(spec.island, agents)

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`."""
        if not self._folder.exists():
            return ()
        known = ((path.name, self._known(path.name)) for path in sorted(self._folder.iterdir()))
        return tuple(
            _node(island, agents)
            for island, agents in known
            if any(agent.record and agent.record.label == label for agent in agents)
        )

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`; of several those that were written last."""
        logs = (agent.log for agent in self._known(island))
        written = [path for path in logs if path.exists()]
        newest = max(written, key=lambda path: path.stat().st_mtime, default=None)
        return last_lines(newest, num_lines) if newest else ""

    def drain(self, island: str) -> None:
        """Ask its agents to checkpoint and leave; nothing happens to those that are dead."""
        for agent in self._known(island):
            agent.drain()

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        for agent in self._known(island):
            agent.cancel()

    def _start(self, agent: LocalAgent, spec: NodeSpec, key: str) -> None:
        command = [sys.executable, "-P", "-m", "atoll", "agent", *spec.agent]
        command += ["--island", spec.island]
        if spec.endpoint:
            command += ["--endpoint", spec.endpoint]
        if spec.num_nodes > 1:
            command += ["--node", self._node or agent.record_at.parent.name]
        try:
            agent.start(command, Record(key, spec.label), spec.token)
        except OSError as error:
            raise IslandError(f"{spec.island} could not be started: {error}") from error

    def _known(self, island: str, num: int = 0) -> Sequence[LocalAgent]:
        """Its agents: as many as there are records of, or so many if they are fewer."""
        known = self._agents.get(island, ())
        num = 1 if num and self._node else num
        if not known or len(known) < num:
            homes = _homes(self._folder / island, num)
            known += tuple(map(_agent_in, homes[len(known) :]))
        if known:
            self._agents[island] = known
        return known


def _homes(home: Path, num: int) -> Sequence[Path]:
    """Folders of the nodes of an island: those with a record first, whatever was asked for then."""
    each = (home / f"node-{number}" for number in itertools.count())
    num_started = sum(1 for _ in itertools.takewhile(_has_record, each))
    if _has_record(home) or (num == 1 and not num_started):
        return [home]
    return [home / f"node-{number}" for number in range(max(num, num_started))]


def _has_record(home: Path) -> bool:
    return (home / _RECORD).exists()


def _agent_in(home: Path) -> LocalAgent:
    return LocalAgent(home / _RECORD, home / AGENT_LOG, home / WORK)


def _node(island: str, agents: Sequence[LocalAgent]) -> Node:
    num_alive = sum(agent.is_alive for agent in agents)
    if num_alive:
        return Node(island, alive=True, missing=len(agents) - num_alive)
    reasons = dict.fromkeys(ending(agent.code) for agent in agents)
    cleared = all(agent.record and agent.record.cleared for agent in agents)
    return Node(island, alive=False, reason="; ".join(reasons), cleared=cleared)


def last_lines(path: Path, num_lines: int, begin: int = 0) -> str:
    """The end of a text file, or of what it holds beyond some bytes; "" if there is none."""
    if not path.exists():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(begin)
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
