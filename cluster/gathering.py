"""A node's end of its gang: says again and again that it is there, and hears who else is."""

from __future__ import annotations

import logging
import math

from atoll.clock import Clock
from atoll.control import ControlPlane
from atoll.errors import Unreachable
from atoll.gangs import Answer, Call, GangNode, Meeting, Seat, Trouble
from cluster.contact import Contact

log = logging.getLogger(__name__)

_DEADLINE_S = 5.0
_IDLE_S = 0.5


class Gathering:
    """One node among those of its island.

    While the orchestrator does not answer, the gang is as it was told last.
    """

    def __init__(
        self, control: ControlPlane, island: str, node: GangNode, contact: Contact, clock: Clock
    ) -> None:
        """Begin; nobody else is known.

        Args:
            control: whom to ask.
            island: name of the island.
            node: this one.
            contact: counts unanswered calls.
            clock: for pauses.
        """
        self._control = control
        self._island = island
        self._node = node
        self._contact = contact
        self._clock = clock
        self._said: tuple[object, ...] = ()
        self._next_call = -math.inf
        self.answer = Answer()
        self.answered_at = -math.inf

    @property
    def node(self) -> GangNode:
        """This one."""
        return self._node

    @property
    def seat(self) -> Seat:
        """As who this node asks for work."""
        return Seat(self._node.name, self.answer.gang.generation)

    def look(
        self,
        *,
        leaving: bool = False,
        meeting: Meeting | None = None,
        trouble: Trouble | None = None,
    ) -> Answer:
        """What is known now; asks if it is time to, or if there is something new to say.

        Args:
            leaving: this node was told to leave.
            meeting: where its trainer waits for those of others, if it leads.
            trouble: how its trainer broke, if it follows.

        Raises:
            Unreachable: no orchestrator answered for too long.
        """
        say = leaving, meeting, trouble
        if say == self._said and self._clock.monotonic() < self._next_call:
            return self.answer
        call = Call(self._island, self._node, self.answer.gang, *say)
        try:
            answer = self._control.gather(call, _DEADLINE_S)
        except Unreachable as error:
            self._contact.missed(error)
        else:
            self._contact.answered()
            self._note(answer)
            self._said = say
        self._next_call = self._clock.monotonic() + self._contact.pause_s(self._beat_s)
        return self.answer

    @property
    def _beat_s(self) -> float:
        held = self.answer.assignment
        return min(max(held.lease.term_s / 10, 0.2), 3.0) if held else _IDLE_S

    def _note(self, answer: Answer) -> None:
        if answer.gang.generation != self.answer.gang.generation:
            fields = {"generation": answer.gang.generation, "nodes": answer.gang.names}
            log.info("gathered", extra={"fields": fields})
        self.answer = answer
        self.answered_at = self._clock.monotonic()
