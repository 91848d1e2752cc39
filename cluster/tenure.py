"""The time between a lease and its release: a trainer, watched, spoken for, and started anew."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, replace

from atoll import relay
from atoll.clock import Clock
from atoll.control import ControlPlane
from atoll.errors import Refused, Unreachable
from atoll.traces import Trace
from atoll.types import Assignment, Directive, Ending, IncidentKind, Outcome, Progress
from cluster.contact import Contact
from cluster.incidents import Incidents
from cluster.leading import Peers
from cluster.log_sender import LogSender
from cluster.restarts import Restarts
from cluster.tracing import Tracing
from cluster.trainer_process import TrainerProcess
from cluster.trainer_run import IslandSettings, TrainerRun

log = logging.getLogger(__name__)

_LOOK_S = 0.05
_RETRY_S = 0.2
_RESTARTS, _ROLLS_BACK = IncidentKind.RESTARTED, IncidentKind.ROLLED_BACK
_EXPLAIN_S = 10.0  # torchrun tells which of several processes died first only when all have


@dataclass(slots=True)
class Orders:
    """What this process was told, by signals or by its cloud; set at any moment.

    Attributes:
        drain: whether to checkpoint and leave.
        why: in words, or "".
    """

    drain: bool = False
    why: str = ""

    def leave(self, why: str) -> None:
        """Checkpoint and leave, for a reason."""
        self.why = why
        self.drain = True


class Tenure:
    """Runs the trainer of one lease to its end.

    The trainer never waits for the orchestrator: while that is away, progress and checkpoints pile
    up here, and are told when it is back. One that breaks is started anew from the last checkpoint
    it published, even if that is not committed yet: the next ones are committed after it.
    """

    def __init__(
        self,
        assignment: Assignment,
        settings: IslandSettings,
        control: ControlPlane,
        *,
        contact: Contact,
        logs: LogSender,
        clock: Clock,
        peers: Peers,
    ) -> None:
        self._assignment, self._lease = assignment, assignment.lease
        self._settings = settings
        self._control = control
        self._contact = contact
        self._logs = logs
        self._clock = clock
        self._peers = peers
        self._run = TrainerRun(assignment, settings, peers.place, clock)
        self._log = self._run.log
        self._tracing = Tracing(control, self._lease, lambda: self._trainer, clock)
        self._restarts = Restarts(0 if settings.node else settings.restarts)
        self._resume_at: float | None = None  # None while a trainer is at work, or will be no more
        self._incidents = Incidents()
        self._mends = _RESTARTS  # what the next start of the trainer is told as
        step = assignment.checkpoint.step if assignment.checkpoint else 0
        self._progress = Progress(step, float("nan"), 0.0)
        self._uncommitted: deque[relay.Published] = deque()
        self._ending: Outcome | None = None
        self._told_by = -math.inf
        self._stopped = False  # for good, by who may say so
        self._preempted = False
        self._why = ""
        self._drain_until: float | None = None
        self._beat_s = min(max(self._lease.term_s / 10, 0.2), 3.0)
        self._next_beat = self._next_commit = clock.monotonic()

    def serve(self, orders: Orders) -> Outcome:
        """Watch the trainer until it ends and all it published is committed.

        Returns:
            How it ended, for :meth:`ControlPlane.release`.

        Raises:
            LeaseLost: the lease has ended; the trainer is dead by now.
            Unreachable: the orchestrator is away for too long; the trainer is dead by now.
        """
        outcome = self._served(orders)
        self._logs.flush(self._log)  # under the lease, which is about to be given back
        return outcome

    def _served(self, orders: Orders) -> Outcome:
        try:
            while True:
                self._resume()
                code = self._trainer.poll()  # first: once it ended, its last word is written
                self._listen()
                self._watch()
                why = self._peers.look(self._run.folder, leaving=orders.drain)
                if orders.drain:
                    self._preempted, self._why = True, orders.why
                    self._drain()
                elif why:
                    self._why = self._why or why
                    self._drain()
                self._keep_time()
                self._commit()
                self._beat()
                self._tracing.tell()
                self._logs.send(self._log)
                outcome = self._peers.judged(self._own_outcome(code))
                if outcome and self._may_restart(outcome):
                    self._pause(outcome)
                elif outcome and not self._uncommitted:
                    self._tracing.flush()
                    return self._told(outcome)
                self._clock.sleep(_LOOK_S)
        finally:
            self._run.close()

    def _own_outcome(self, code: int | None) -> Outcome | None:
        """How the trainer of this node ended; None while it runs."""
        if self._ending and self._clock.monotonic() >= self._told_by:
            return self._ending  # it has spoken its last word; how it exits is no matter
        return None if code is None or self._resume_at is not None else self._outcome()

    def _told(self, outcome: Outcome) -> Outcome:
        """With what was tried in vain, for who has to act now."""
        if outcome.ending is not Ending.FAILED:
            return outcome
        return replace(outcome, reason=outcome.reason + self._restarts.words)

    def _may_restart(self, outcome: Outcome) -> bool:
        """Whether this is for the island to mend, and not for who told it to stop."""
        broke = outcome.ending is Ending.FAILED and not self._stopped
        return broke and self._restarts.may and self._drain_until is None

    def _pause(self, outcome: Outcome) -> None:
        """Until the trainer is started anew; whoever tells it to leave meanwhile need not wait."""
        self._trainer.kill()
        self._listen()  # what it published last is not done again
        self._run.close()
        pause_s = self._restarts.begin()
        self._ending, self._told_by = None, -math.inf
        self._resume_at = self._clock.monotonic() + pause_s
        newest = self._assignment.checkpoint
        start = f"from step {newest.step}" if newest else "from the beginning"
        words = f"{outcome.reason}; its trainer is started anew {start}, in {pause_s:g} s"
        self._incidents.add(self._mends, words)
        self._mends = _RESTARTS
        log.warning(
            "trainer broke", extra={"fields": {"job": self._lease.job, "reason": outcome.reason}}
        )

    def _resume(self) -> None:
        """Start the trainer anew, once the pause is over."""
        if self._resume_at is None or self._clock.monotonic() < self._resume_at:
            return
        self._resume_at = None
        assignment = replace(self._assignment, restarts=self._restarts.num)
        try:
            self._run = TrainerRun(assignment, self._settings, self._peers.place, self._clock)
        except OSError as error:
            self._stopped = True
            self._ending = Outcome(Ending.FAILED, f"the trainer cannot be started anew: {error}")

    def _watch(self) -> None:
        """Of one that leaves, its last checkpoint has its own time."""
        watched = self._ending is None and self._resume_at is None and self._drain_until is None
        if watched and (why := self._run.watch.look()):
            self._trainer.kill()
            self._listen()
            self._ending = Outcome(Ending.FAILED, why, self._trainer.last_lines())

    def _listen(self) -> None:
        for message in self._run.listener.heard():
            match message:
                case Progress():
                    self._progress = message
                case relay.Published():
                    self._uncommitted.append(message)
                    self._assignment = replace(self._assignment, checkpoint=message.checkpoint)
                    self._restarts.forgive()
                case Trace():
                    self._tracing.made(message)
                case relay.Overcame(kind, reason):
                    self._incidents.add(kind, reason)
                case relay.Ended(finished):
                    if not finished and self._drain_until is None:
                        # Slurm, for one, tells all processes of a job at once that it ends.
                        self._preempted = True
                        self._why = self._why or "its trainer was told to leave, not by its agent"
                    self._ending = Outcome(Ending.FINISHED) if finished else self._left()
                case relay.Damaged(reason) if self._ending is None:
                    self._ending = Outcome(Ending.DAMAGED, reason)
                case relay.Leapt(reason, passed) if self._ending is None:
                    leaves = self._drain_until is not None
                    self._ending = self._left(reason) if leaves else Outcome(Ending.FAILED, reason)
                    self._mends = _ROLLS_BACK
                    self._assignment = replace(self._assignment, passed=passed)
                case relay.Broke(reason, final) if self._ending is None:
                    # The first of several processes to break tells the cause, the others follow.
                    ending = Ending.REFUSED if final else Ending.FAILED
                    self._ending = Outcome(ending, reason, self._trainer.last_lines())
                    if not final and self._settings.trainer.processes > 1:
                        # Unless the first was killed: then this one only misses it.
                        self._told_by = self._clock.monotonic() + _EXPLAIN_S

    def _left(self, words: str = "") -> Outcome:
        """How a trainer ends that was asked to leave: by the fleet, or by orders to its island."""
        ending = Ending.PREEMPTED if self._preempted else Ending.DRAINED
        return Outcome(ending, "; ".join(filter(None, (self._why, words))))

    def _outcome(self) -> Outcome:
        """How the trainer ended, now that it has: a process that was killed explains all others."""
        killed = self._trainer.killed()
        if killed or self._ending is None:
            words = killed or self._trainer.last_words()
            return Outcome(Ending.FAILED, words, self._trainer.last_lines())
        return self._ending

    @property
    def _trainer(self) -> TrainerProcess:
        return self._run.process

    def _drain(self) -> None:
        if self._drain_until is None:
            log.info("draining", extra={"fields": {"job": self._lease.job}})
            self._drain_until = self._clock.monotonic() + self._settings.drain_s
            if self._resume_at is not None:  # nothing runs, and all it did is published
                self._resume_at, self._ending = None, self._left()
                return
            self._trainer.drain()

    def _keep_time(self) -> None:
        late = self._drain_until is not None and self._clock.monotonic() > self._drain_until
        if late and self._trainer.poll() is None:
            words = f"no checkpoint within {self._settings.drain_s:g} s of being asked to drain"
            self._stop(self._left(words))

    def _commit(self) -> None:
        """Publish the oldest; one at a time, so that heartbeats come between."""
        if self._uncommitted and self._clock.monotonic() >= self._next_commit:
            oldest = self._uncommitted[0]
            try:
                self._control.commit(self._lease, oldest.checkpoint, oldest.loss)
            except Unreachable as error:
                self._contact.missed(error)
                self._next_commit = self._clock.monotonic() + self._contact.pause_s(_RETRY_S)
            except Refused as error:
                self._uncommitted.clear()
                self._stop(Outcome(Ending.FAILED, str(error)))
            else:
                self._contact.answered()
                self._uncommitted.popleft()
                fields = {"job": self._lease.job, "step": oldest.checkpoint.step}
                log.info("checkpoint committed", extra={"fields": fields})

    def _beat(self) -> None:
        if self._clock.monotonic() < self._next_beat:
            return
        incidents = self._incidents.untold
        try:
            directive = self._control.heartbeat(self._lease, self._progress, incidents)
        except Unreachable as error:
            self._contact.missed(error)
        else:
            self._contact.answered()
            self._tracing.order()
            self._incidents.told(incidents)
            if directive is Directive.DRAIN:
                self._drain()
            if directive is Directive.CANCEL:
                self._stop(Outcome(Ending.DRAINED, "its trainer was killed"))
            if directive is Directive.RESTART:
                words = f"stood still at step {self._progress.step}, and was killed"
                self._stop(Outcome(Ending.FAILED, words, self._trainer.last_lines()))
        self._next_beat = self._clock.monotonic() + self._contact.pause_s(self._beat_s)

    def _stop(self, outcome: Outcome) -> None:
        self._trainer.kill()
        self._listen()
        self._stopped, self._ending, self._resume_at = True, outcome, None
