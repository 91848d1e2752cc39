"""A trainer on a node that does not lead: it works for as long as its island holds the lease."""

from __future__ import annotations

import math
from collections.abc import Callable

from atoll import relay
from atoll.clock import Clock
from atoll.gangs import Answer, Trouble
from atoll.node_place import NodePlace, read_meeting, write_meeting
from atoll.types import Assignment, Ending, Outcome
from cluster.gathering import Gathering
from cluster.log_sender import LogSender
from cluster.tenure import Orders
from cluster.trainer_run import IslandSettings, TrainerRun

_LOOK_S = 0.05


class Follower:
    """Runs this node's part of the work under a lease that the leader of its island holds.

    It publishes nothing and decides nothing. Whatever ends the lease ends it; how its trainer
    breaks or hangs is told to the leader.
    """

    def __init__(
        self,
        assignment: Assignment,
        settings: IslandSettings,
        gathering: Gathering,
        logs: LogSender,
        clock: Clock,
    ) -> None:
        """Follow the leader of the nodes that are gathered now, in what it works on."""
        self._assignment = assignment
        self._settings = settings
        self._gathering = gathering
        self._logs = logs
        self._clock = clock
        self._trouble: Trouble | None = None

    def serve(self, orders: Orders) -> None:
        """Work until the lease has ended, or until this node must go.

        Raises:
            Unreachable: the orchestrator is away for too long; the trainer is dead by now.
        """
        gang, me = self._gathering.answer.gang, self._gathering.node
        place = NodePlace(gang.names.index(me.name), len(gang.nodes), me.address)
        try:
            run = TrainerRun(self._assignment, self._settings, place, self._clock)
        except OSError as error:
            self._tell(Outcome(Ending.FAILED, f"the trainer cannot be started: {error}"))
            self._watch(orders, lambda _: None)
            return

        def attend(answer: Answer) -> None:
            self._listen(run)
            self._show_meeting(answer, gang.nodes[0].address, run)
            self._logs.send(run.log)

        try:
            self._watch(orders, attend)
        finally:
            run.close()
            self._logs.flush(run.log)

    def _watch(self, orders: Orders, attend: Callable[[Answer], None]) -> None:
        """Until the lease has ended, or this node's time to leave is over."""
        leave_by = math.inf
        while self._clock.monotonic() <= leave_by:
            answer = self._gathering.look(leaving=orders.drain, trouble=self._trouble)
            if not answer.assignment or answer.assignment.lease != self._assignment.lease:
                return
            attend(answer)
            if orders.drain:
                leave_by = min(leave_by, self._clock.monotonic() + self._settings.drain_s)
            self._clock.sleep(_LOOK_S)

    def _listen(self, run: TrainerRun) -> None:
        code = run.process.poll()  # first: once it ended, its last word is written
        for message in run.listener.heard():
            match message:
                case relay.Damaged(reason):
                    self._tell(Outcome(Ending.DAMAGED, reason))
                case relay.Broke(reason, final):
                    ending = Ending.REFUSED if final else Ending.FAILED
                    self._tell(Outcome(ending, reason, run.process.last_lines()))
        if code:
            words, log = run.process.last_words(), run.process.last_lines()
            self._tell(Outcome(Ending.FAILED, words, log))
        elif why := run.watch.look():
            self._tell(Outcome(Ending.FAILED, why, run.process.last_lines()))

    def _tell(self, outcome: Outcome) -> None:
        """The first counts: what comes after it follows from it."""
        name, epoch = self._gathering.node.name, self._assignment.lease.epoch
        self._trouble = self._trouble or Trouble(name, epoch, outcome)

    def _show_meeting(self, answer: Answer, leader: str, run: TrainerRun) -> None:
        """Once the leader's trainer waits there."""
        meeting = answer.meeting
        if meeting is None or meeting.epoch != self._assignment.lease.epoch or not meeting.port:
            return
        if read_meeting(run.folder) is None:
            write_meeting(run.folder, leader, meeting.port)
