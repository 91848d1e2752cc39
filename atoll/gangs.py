"""What the nodes of one island, and the orchestrator, tell each other to stay together."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.types import Assignment, Outcome


@dataclass(frozen=True, slots=True)
class Seat:
    """Which node of an island asks for work.

    Attributes:
        node: its name.
        generation: of the gang that it believes to lead.
    """

    node: str
    generation: int


@dataclass(frozen=True, slots=True)
class GangNode:
    """A node of an island.

    Attributes:
        name: unique for every start of one within the island.
        address: at which the island's other nodes reach it.
    """

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Gang:
    """The nodes of an island that train together.

    Attributes:
        generation: grows with every change; 0 as long as nothing was told.
        nodes: in order of rank, the leader first; none while too few are there.
        others: names of nodes that are there besides: too many, too few, or leaving.
        why: it is as it is, in words.
    """

    generation: int = 0
    nodes: tuple[GangNode, ...] = ()
    others: tuple[str, ...] = ()
    why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the nodes, in order of rank."""
        return tuple(node.name for node in self.nodes)

    @property
    def leader(self) -> str:
        """Who holds the island's lease; "" while there is no gang."""
        return self.nodes[0].name if self.nodes else ""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the trainers of a gang meet under a lease.

    Attributes:
        generation: of the gang.
        epoch: of the lease.
        port: at the leader's address; 0 as long as its trainer does not listen.
    """

    generation: int
    epoch: int
    port: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """How the trainer of one node broke.

    Attributes:
        node: its name.
        epoch: of the lease it worked under.
        outcome: as if the node were alone.
    """

    node: str
    epoch: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Call:
    """What a node says of itself.

    Attributes:
        island: whose node it is.
        node: its name, and where the others reach it.
        gang: as it was told last.
        leaving: whether it was told to leave.
        meeting: of a leader at work.
        trouble: of a follower whose trainer broke.
    """

    island: str
    node: GangNode
    gang: Gang = Gang()
    leaving: bool = False
    meeting: Meeting | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node is told.

    Attributes:
        gang: as it is.
        assignment: what the island holds the lease of; None for nothing.
        meeting: of that lease; None as long as nobody is to start a trainer for it.
        troubles: of that lease, so far.
        dismissed: nothing will come any more; the node may go.
    """

    gang: Gang = Gang()
    assignment: Assignment | None = None
    meeting: Meeting | None = None
    troubles: tuple[Trouble, ...] = ()
    dismissed: bool = False
