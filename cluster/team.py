"""Whether it is a node's turn to hold the lease of its island."""

from __future__ import annotations

import enum
import logging
from contextlib import suppress
from typing import Protocol

from atoll.clock import Clock
from atoll.control import ControlPlane
from atoll.errors import ControlError, LeaseLost
from atoll.gangs import Answer, Seat
from atoll.types import Assignment, Lease
from cluster.contact import Contact
from cluster.follower import Follower
from cluster.gathering import Gathering
from cluster.leading import Leading, NoPeers, Peers
from cluster.log_sender import LogSender
from cluster.tenure import Orders
from cluster.trainer_run import IslandSettings

log = logging.getLogger(__name__)

_LOOK_S = 0.1


class Turn(enum.Enum):
    """What a node is to do next."""

    LEAD = enum.auto()  # ask for work
    WAIT = enum.auto()  # come again: it waited, or worked for the leader, meanwhile
    GO = enum.auto()  # nothing will come any more


class Team(Protocol):
    """The nodes of an island, as the agent of one of them sees them."""

    @property
    def seat(self) -> Seat | None:
        """As who this node asks for work; None where the island has but one."""
        ...

    def turn(self, orders: Orders) -> Turn:
        """What to do next; a node that follows works meanwhile. Raises: Unreachable."""
        ...

    def peers(self, lease: Lease) -> Peers:
        """The other nodes, for the tenure of a lease."""
        ...

    def outlives(self, error: LeaseLost) -> bool:
        """Whether this node goes on although it has lost a lease."""
        ...

    def leave(self) -> None:
        """Tell the others, so that they need not wait to miss this node."""
        ...


class Alone:
    """See :class:`Team`; an island of one node."""

    seat = None

    def turn(self, _: Orders) -> Turn:
        """See :class:`Team`."""
        return Turn.LEAD

    def peers(self, _: Lease) -> Peers:
        """See :class:`Team`."""
        return NoPeers()

    def outlives(self, _: LeaseLost) -> bool:
        """See :class:`Team`."""
        return False

    def leave(self) -> None:
        """See :class:`Team`."""


class Gathered:
    """See :class:`Team`; one node of several."""

    def __init__(
        self,
        settings: IslandSettings,
        gathering: Gathering,
        logs: LogSender,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._gathering = gathering
        self._logs = logs
        self._clock = clock

    @property
    def seat(self) -> Seat:
        """See :class:`Team`."""
        return self._gathering.seat

    def turn(self, orders: Orders) -> Turn:
        """See :class:`Team`."""
        answer = self._gathering.look()
        self._logs.send()
        if answer.dismissed:
            return Turn.GO
        if answer.gang.leader == self._gathering.node.name:
            return Turn.LEAD
        if answer.assignment and self._is_wanted(answer):
            self._follow(answer.assignment, orders)
        else:
            self._clock.sleep(_LOOK_S)
        return Turn.WAIT

    def peers(self, lease: Lease) -> Peers:
        """See :class:`Team`."""
        return Leading(self._gathering, lease, self._clock)

    def outlives(self, error: LeaseLost) -> bool:
        """See :class:`Team`; another leads by now, and this node can follow."""
        log.warning("goes on without its lease", extra={"fields": {"why": str(error)}})
        return True

    def leave(self) -> None:
        """See :class:`Team`."""
        with suppress(ControlError):
            self._gathering.look(leaving=True)

    def _is_wanted(self, answer: Answer) -> bool:
        """Whether the leader waits for this node's trainer."""
        gang, meeting = answer.gang, answer.meeting
        is_now = meeting is not None and meeting.generation == gang.generation
        return is_now and self._gathering.node.name in gang.names

    def _follow(self, assignment: Assignment, orders: Orders) -> None:
        log.info("follows", extra={"fields": {"job": assignment.spec.name}})
        Follower(assignment, self._settings, self._gathering, self._logs, self._clock).serve(orders)


def team_of(
    settings: IslandSettings,
    control: ControlPlane,
    contact: Contact,
    logs: LogSender,
    clock: Clock,
) -> Team:
    """Of an agent that was told which node it is, or that its island has but one."""
    if settings.node is None:
        return Alone()
    gathering = Gathering(control, settings.name, settings.node, contact, clock)
    return Gathered(settings, gathering, logs, clock)
