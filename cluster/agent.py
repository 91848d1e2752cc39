"""The agent: holds an island's lease, starts its trainer, and speaks for it.

One loop: acquire, train under the lease, release. It ends when the fleet dismisses the island, when
it is told to drain, or when its lease is lost; then nothing of that epoch is published any more. On
an island of several nodes each has an agent, and only the one that leads them asks for work.
"""

from __future__ import annotations

import logging
from dataclasses import asdict

from atoll.clock import Clock
from atoll.control import ControlPlane, new_request_id
from atoll.errors import LeaseLost, Refused, Unreachable
from atoll.types import Assignment, Ending, Lease, Outcome, Wait
from cluster.contact import Contact
from cluster.log_sender import LogSender, LogSource
from cluster.team import Turn, team_of
from cluster.tenure import Orders, Tenure
from cluster.trainer_run import IslandSettings

log = logging.getLogger(__name__)

_RETRY_S = 0.2


class Agent:
    """An island's agent, for as long as the island lives."""

    def __init__(
        self, settings: IslandSettings, control: ControlPlane, own_log: LogSource, clock: Clock
    ) -> None:
        self._settings = settings
        self._control = control
        self._clock = clock
        self._contact = Contact(settings.orphan_s, clock)
        self._logs = LogSender(control, settings.writer, own_log, clock)
        self._team = team_of(settings, control, self._contact, self._logs, clock)
        self.job = ""  # under whose lease it works; "" while there is none

    def work(self, orders: Orders) -> None:
        """Work on one job after the other until dismissed, or told to drain.

        Raises:
            LeaseLost: a lease was lost while its trainer ran.
            Unreachable: no orchestrator answered for too long.
            Refused: the orchestrator does not want this island.
        """
        name, request_id = self._settings.name, new_request_id()
        while not orders.drain:
            turn = self._team.turn(orders)
            if turn is Turn.WAIT:
                continue
            if turn is Turn.GO:
                log.info("dismissed")
                return
            try:
                answer = self._control.acquire(name, request_id, self._team.seat)
            except Unreachable as error:
                self._wait_for_contact(error)
                continue
            self._contact.answered()
            self._logs.send()
            request_id = new_request_id()
            if not isinstance(answer, Wait):
                log.info("works on a lease", extra={"fields": asdict(answer.lease)})
                self._work_under(answer, orders)
            elif answer.dismissed:
                log.info("dismissed")
                return
            else:
                self._clock.sleep(answer.retry_after_s)
        self._team.leave()

    def _work_under(self, assignment: Assignment, orders: Orders) -> None:
        self.job = assignment.lease.job
        try:
            self._release(assignment.lease, self._serve(assignment, orders))
        except LeaseLost as error:
            if not self._team.outlives(error):
                raise
        finally:
            self.job = ""

    def _serve(self, assignment: Assignment, orders: Orders) -> Outcome:
        try:
            tenure = Tenure(
                assignment,
                self._settings,
                self._control,
                contact=self._contact,
                logs=self._logs,
                clock=self._clock,
                peers=self._team.peers(assignment.lease),
            )
        except OSError as error:
            return Outcome(Ending.FAILED, f"the trainer cannot be started: {error}")
        return tenure.serve(orders)

    def _release(self, lease: Lease, outcome: Outcome) -> None:
        fields = {"job": lease.job, "epoch": lease.epoch, **asdict(outcome)}
        log.info("gives the lease back", extra={"fields": fields})
        self._logs.flush()
        try:
            self._give_back(lease, outcome)
        except Refused as error:
            if outcome.ending is Ending.FAILED:
                raise
            self._give_back(lease, Outcome(Ending.FAILED, str(error)))

    def _give_back(self, lease: Lease, outcome: Outcome) -> None:
        request_id = new_request_id()
        while True:
            try:
                self._control.release(lease, outcome, request_id)
            except Unreachable as error:
                self._wait_for_contact(error)
            else:
                self._contact.answered()
                return

    def _wait_for_contact(self, error: Unreachable) -> None:
        self._contact.missed(error)
        self._clock.sleep(self._contact.pause_s(_RETRY_S))
