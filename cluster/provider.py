"""What starts and stops the nodes of islands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can give.

    Attributes:
        num_gpus: accelerators of one node, at most.
        elsewhere: whether nodes are, or may be, other machines than the orchestrator's, which then
            has to be heard beyond loopback.
        num_nodes: alive at once, at most; None if nobody knows.
    """

    num_gpus: int
    elsewhere: bool = False
    num_nodes: int | None = None


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What is to run for an island: one agent on its node, or on each where it has several.

    Attributes:
        island: name of the island, unique for every start.
        label: the run it belongs to; all nodes of a run are found by it.
        agent: arguments of ``atoll agent``; the provider adds ``--island``, and ``--work-dir``,
            because only it knows where on the node there is room.
        num_gpus: accelerators it needs.
        token: what lets the agent join (see :class:`atoll.join_token.JoinToken`), a secret; the
            provider puts it into a file that only its owner reads, and adds ``--join`` and its
            path. "" if the orchestrator asks for none.
        num_nodes: of the island. With more than one the provider adds ``--node`` and a name to the
            arguments of each agent, which no other start of one within the island has.
        min_nodes: with how many of them the island is worth starting.
        endpoint: file in which orchestrators of this machine leave their address, "" for none. Who
            starts an agent on this machine adds ``--endpoint`` and it; another machine that mounts
            it would call itself.
    """

    island: str
    label: str
    agent: tuple[str, ...]
    num_gpus: int
    token: str = field(default="", repr=False)
    num_nodes: int = 1
    min_nodes: int = 1
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as its provider sees it; of an island of several, all of them together.

    Attributes:
        island: the island it was started for.
        alive: whether its agent runs, or may still come to run. A frozen one counts as alive. Of
            several agents any one will do.
        waiting: whether it stands in a queue, or is being made: its island's silence says nothing.
        in_setup: whether one that waits is there already, and only its agents are not.
        missing: how many of several are not there that another submission would start.
        reason: how it ended, in words; "" while alive.
        cleared: whether it was cancelled, so that nothing is left to be done about it.
        stale: whether this is as it was told last, because nobody answers for it now.
        provider: which of several it is of; "" where there is one.
    """

    island: str
    alive: bool
    reason: str = ""
    cleared: bool = False
    waiting: bool = False
    stale: bool = False
    provider: str = ""
    missing: int = 0
    in_setup: bool = False

    @property
    def is_there(self) -> bool:
        """Whether it is paid for, whatever its agents do."""
        return self.alive and (self.in_setup or not self.waiting)


class Provider(Protocol):
    """One kind of place where islands run. Nodes are named by their island.

    Nodes live on when the orchestrator dies; a later one finds them again with ``list``.
    """

    def capabilities(self) -> Capabilities:
        """What can be asked for."""
        ...

    def validate(self, spec: NodeSpec) -> None:
        """Refuse, before anything starts, what can never run.

        Raises:
            ConfigError: it can never run as it is asked for.
            IslandError: nobody knows, because the provider does not answer.
        """
        ...

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """Start a node; the same key starts nothing the second time, but what is ``missing``.

        Raises: IslandError.
        """
        ...

    def list(self, label: str) -> tuple[Node, ...]:
        """All nodes of a run that are known, dead and cancelled ones included.

        Raises: IslandError, it does not answer.
        """
        ...

    def logs(self, island: str, num_lines: int) -> str:
        """The last lines its agent wrote; "" if there are none."""
        ...

    def cancel(self, island: str) -> None:
        """Stop whatever is left of a node, at once; nothing happens if there is nothing."""
        ...
