"""How the leader of an island's nodes counts the others in, while it works on a lease."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

from atoll.clock import Clock
from atoll.gangs import Gang, Meeting, Trouble
from atoll.node_place import NodePlace, read_meeting
from atoll.types import Ending, Lease, Outcome
from cluster.gathering import Gathering

_EXPLAIN_TERMS = 1.5  # a node that is lost is known to be after one
_WELL = {Ending.FINISHED, Ending.DRAINED, Ending.PREEMPTED}
_FINAL = {Ending.REFUSED, Ending.DAMAGED}


class Peers(Protocol):
    """The other nodes of the island, as the tenure of its lease sees them."""

    @property
    def place(self) -> NodePlace | None:
        """This node's among them; None where the island has but one."""
        ...

    def look(self, folder: Path, *, leaving: bool) -> str:
        """Hear of them; why this lease is to be given back for their sake, or "".

        Args:
            folder: of this node's trainer.
            leaving: whether this node was told to leave.
        """
        ...

    def judged(self, own: Outcome | None) -> Outcome | None:
        """How all of them have ended, as far as that is explained; None while it is not.

        Args:
            own: how this node's trainer ended; None while it runs.
        """
        ...


class NoPeers:
    """See :class:`Peers`; an island of one node."""

    place = None

    def look(self, folder: Path, *, leaving: bool) -> str:  # noqa: ARG002
        """See :class:`Peers`."""
        return ""

    def judged(self, own: Outcome | None) -> Outcome | None:
        """See :class:`Peers`."""
        return own


class Leading:
    """See :class:`Peers`.

    A trainer that breaks takes the others with it, and all of them complain. So a failure is told
    once every node has said how its trainer ended, or one is known to be lost, or none of that has
    come in time.
    """

    def __init__(self, gathering: Gathering, lease: Lease, clock: Clock) -> None:
        """Lead the nodes that are gathered now.

        Args:
            gathering: tells of the others.
            lease: that was granted to them.
            clock: for patience.
        """
        self._gathering = gathering
        self._gang: Gang = gathering.answer.gang
        self._lease = lease
        self._clock = clock
        self._broke_at = math.inf

    @property
    def place(self) -> NodePlace:
        """See :class:`Peers`."""
        return NodePlace(0, len(self._gang.nodes), self._gathering.node.address)

    def look(self, folder: Path, *, leaving: bool) -> str:
        """See :class:`Peers`; for who comes or leaves, not for who is lost: that is judged."""
        _, port = read_meeting(folder) or ("", 0)
        meeting = Meeting(self._gang.generation, self._lease.epoch, port)
        gang = self._gathering.look(leaving=leaving, meeting=meeting).gang
        if gang.generation == self._gang.generation or self._lost:
            return ""
        return gang.why

    def judged(self, own: Outcome | None) -> Outcome | None:
        """See :class:`Peers`."""
        if own and own.ending in _WELL | _FINAL:
            return own
        if self._lost:
            return Outcome(Ending.NODE_LOST, f"{', '.join(self._lost)} was lost")
        troubles = self._troubles
        final = [trouble for trouble in troubles if trouble.outcome.ending in _FINAL]
        if final:
            return _told([final[0]], None, final[0].outcome.ending)
        if own is None and not troubles:
            self._broke_at = math.inf
            return None
        self._broke_at = min(self._broke_at, self._clock.monotonic())
        all_told = own is not None and len(troubles) == len(self._gang.nodes) - 1
        waited_s = self._gathering.answered_at - self._broke_at
        if all_told or waited_s > _EXPLAIN_TERMS * self._lease.term_s:
            return _told(troubles, own, Ending.FAILED)
        return None

    @property
    def _lost(self) -> list[str]:
        """Which nodes of this lease are not there any more."""
        now = self._gathering.answer.gang
        if now.generation == self._gang.generation:
            return []
        return sorted(set(self._gang.names) - set(now.names) - set(now.others))

    @property
    def _troubles(self) -> list[Trouble]:
        told = self._gathering.answer.troubles
        return [trouble for trouble in told if trouble.epoch == self._lease.epoch]


def _told(troubles: list[Trouble], own: Outcome | None, ending: Ending) -> Outcome:
    """All complaints in one; the log is the first node's that sent one."""
    words = [f"{trouble.node}: {trouble.outcome.reason}" for trouble in troubles]
    logs = [trouble.outcome.log for trouble in troubles]
    if own:
        words.append(f"the leader: {own.reason}")
        logs.append(own.log)
    return Outcome(ending, "; ".join(words), next(filter(None, logs), ""))
