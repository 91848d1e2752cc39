"""A trainer on a node that does not lead: it works for as long as its island holds the lease."""

from __future__ import annotations

import logging

from atoll import relay
from atoll.clock import Clock
from atoll.gangs import Answer, Trouble
from atoll.node_place import NodePlace, read_meeting, write_meeting
from atoll.types import Assignment, Ending, Outcome
from cluster.gathering import Gathering
from cluster.log_sender import LogSender
from cluster.tenure import Orders
from cluster.trainer_run import IslandSettings, TrainerRun

log = logging.getLogger(__name__)

_LOOK_S = 0.05


class Follower:
    """Runs this node's part of the work under a lease that the leader of its island holds.

    It publishes nothing and decides nothing. Whatever ends the lease ends it; how its trainer
    breaks is told to the leader.
    """

    def __init__(
        self,
        assignment: Assignment,
        settings: IslandSettings,
        gathering: Gathering,
        logs: LogSender,
        clock: Clock,
    ) -> None:
        """Start the trainer, which waits until it is told where to meet the others.

        Raises:
            OSError: it cannot be started.
        """
        self._epoch = assignment.lease.epoch
        self._job = assignment.lease.job
        self._settings = settings
        self._gathering = gathering
        self._logs = logs
        self._clock = clock
        gang, me = gathering.answer.gang, gathering.node
        place = NodePlace(gang.names.index(me.name), len(gang.nodes), me.address)
        self._run = TrainerRun(assignment, settings, place)
        self._leader = gang.nodes[0].address
        self._trouble: Trouble | None = None

    def serve(self, orders: Orders) -> None:
        """Work until the lease has ended, or until this node must go.

        Raises:
            Unreachable: the orchestrator is away for too long; the trainer is dead by now.
        """
        leave_by = None
        try:
            while True:
                self._listen()
                answer = self._gathering.look(leaving=orders.drain, trouble=self._trouble)
                if not self._is_held(answer):
                    return
                self._show_meeting(answer)
                self._logs.send(self._run.log)
                if orders.drain:
                    now = self._clock.monotonic()
                    leave_by = leave_by or now + self._settings.drain_s
                    if now > leave_by:
                        return
                self._clock.sleep(_LOOK_S)
        finally:
            self._run.close()
            self._logs.flush(self._run.log)

    def _listen(self) -> None:
        trainer = self._run.process
        code = trainer.poll()  # first: once it ended, its last word is written
        for message in self._run.listener.heard():
            match message:
                case relay.Damaged(reason):
                    self._tell(Outcome(Ending.DAMAGED, reason))
                case relay.Broke(reason, final):
                    ending = Ending.REFUSED if final else Ending.FAILED
                    self._tell(Outcome(ending, reason, trainer.last_lines()))
        if code:
            self._tell(Outcome(Ending.FAILED, trainer.last_words(), trainer.last_lines()))

    def _tell(self, outcome: Outcome) -> None:
        """The first counts: what comes after it follows from it."""
        name = self._gathering.node.name
        self._trouble = self._trouble or Trouble(name, self._epoch, outcome)

    def _is_held(self, answer: Answer) -> bool:
        lease = answer.assignment.lease if answer.assignment else None
        return lease is not None and (lease.job, lease.epoch) == (self._job, self._epoch)

    def _show_meeting(self, answer: Answer) -> None:
        meeting, folder = answer.meeting, self._run.folder
        told = meeting and meeting.epoch == self._epoch and meeting.port
        if meeting and told and read_meeting(folder) is None:
            write_meeting(folder, self._leader, meeting.port)
