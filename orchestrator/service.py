"""The living fleet: one lock around the state, the store and those who watch for events."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace

from atoll.clock import Clock
from atoll.errors import Unreachable
from atoll.gangs import Answer, Call, Seat
from atoll.types import (
    Action,
    Assignment,
    CheckpointRecord,
    CheckpointRef,
    Directive,
    Event,
    Incident,
    Lease,
    Outcome,
    Progress,
    Submission,
    Wait,
)
from atoll.views import BudgetView, FleetView
from cluster.provider import Node
from orchestrator.curves import Curves
from orchestrator.fleet import gangs, leases, matching, operations, registry, steering
from orchestrator.fleet.budget import Budget
from orchestrator.fleet.jobs import Jobs
from orchestrator.fleet.ledger import Ledger
from orchestrator.fleet.state import Change, Fleet, Policy
from orchestrator.servers import Servers
from orchestrator.spending import Spending
from orchestrator.storage.store import Store
from orchestrator.tally import Tally

log = logging.getLogger(__name__)

_EVENTS_AT_ONCE = 500
_REGROUPS_S = 0.2  # how soon a node that does not lead by now may ask again
# What nobody shall overlook in a log: work is lost, or stands still until somebody mends it.
_LOUD = {"checkpoint-damaged", "job-crash-loop", "job-failed"}


class FleetService:
    """Applies transitions one after the other: decided purely, stored first, then believed.

    What makes no event is not stored: a restart grants every lease a full term anyway. If the store
    fails, nobody is told that anything happened; whether it did all the same, because only the
    store's answer was lost, is looked up before anything else is decided.
    """

    def __init__(
        self, store: Store, policy: Policy, clock: Clock, budget: Budget | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = threading.Condition()  # guards all that follows
        stored = store.load()
        self._fleet = Fleet(policy, Jobs().updated(stored.jobs))
        self._spending = Spending(stored.nodes, policy.prices, budget or Budget(), clock)
        self._started = tuple(use.island for use in stored.nodes)
        self._last_event = stored.last_event
        self.servers = Servers(clock)
        self._asked_at = clock.monotonic()
        self._has_had_work = False
        self._retired = False
        self._listen_at = clock.monotonic()
        self._curves = Curves()
        self._tally = Tally(clock.wall())
        self._doubtful = Change()  # what the store failed to save, or did not say that it had
        with self._turn():
            change = operations.restarted(self._fleet, stored.leaving, clock.monotonic())
            # Terms belong to this process's clock: nothing of the grace is stored but its event.
            self._apply(change._replace(events=()))
            self._apply(Change(events=change.events))

    @property
    def fleet(self) -> Fleet:
        """The state at this moment."""
        return self._fleet

    @property
    def started(self) -> tuple[str, ...]:
        """Islands that earlier orchestrators asked a provider for; their names are taken."""
        return self._started

    @property
    def has_islands(self) -> bool:
        """Whether any that was asked for has not ended, as far as is known."""
        return bool(self._spending.ledger.running)

    def acquire(self, island: str, request_id: str, seat: Seat | None = None) -> Assignment | Wait:
        """See :func:`orchestrator.fleet.leases.acquire`, and ``may_acquire`` of gangs."""
        with self._turn():
            if not gangs.may_acquire(self._fleet, island, seat):
                return Wait(_REGROUPS_S, dismissed=False)
            answer, change = leases.acquire(
                self._fleet, island, request_id, self._clock.monotonic()
            )
            self._apply(change)
            return answer

    def gather(self, call: Call) -> Answer:
        """See :mod:`orchestrator.fleet.gangs`."""
        with self._turn():
            self._apply(gangs.gather(self._fleet, call, self._clock.monotonic()))
            return gangs.answer(self._fleet, call.island)

    def heartbeat(
        self, lease: Lease, progress: Progress, incidents: Sequence[Incident] = ()
    ) -> Directive:
        """See :func:`orchestrator.fleet.leases.heartbeat`."""
        with self._turn():
            now = self._clock.monotonic()
            answer, change = leases.heartbeat(self._fleet, lease, progress, now, incidents)
            self._apply(change)
            self._curves.note(lease.job, progress)
            return answer

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        """See :func:`orchestrator.fleet.leases.commit`; what was published before is so again."""
        with self._turn():
            # A reference names its bytes, so a call that is repeated is known by its content.
            if self._store.is_committed(lease.job, checkpoint):
                return
            now = self._clock.monotonic()
            self._apply(leases.commit(self._fleet, lease, checkpoint, now, loss))

    def release(self, lease: Lease, outcome: Outcome, request_id: str) -> None:
        """See :func:`orchestrator.fleet.leases.release`."""
        with self._turn():
            now = self._clock.monotonic()
            self._apply(leases.release(self._fleet, lease, outcome, request_id, now))

    def found_sound(self, job: str, checkpoint: CheckpointRef, words: str) -> None:
        """See :func:`orchestrator.fleet.registry.found_sound`; nothing if nobody waits for it."""
        with self._turn():
            if registry.is_doubted(self._fleet, job, checkpoint):
                now = self._clock.monotonic()
                self._apply(registry.found_sound(self._fleet, job, words, now))

    def found_damaged(self, job: str, checkpoint: CheckpointRef, reason: str) -> None:
        """See :func:`orchestrator.fleet.registry.found_damaged`; nothing if nobody waits."""
        with self._turn():
            if registry.is_doubted(self._fleet, job, checkpoint):
                known, now = self._store.checkpoints(job), self._clock.monotonic()
                self._apply(registry.found_damaged(self._fleet, job, known, reason, now))

    def collected(self, job: str, records: Sequence[CheckpointRecord], freed_bytes: int) -> bool:
        """See :func:`orchestrator.fleet.registry.collected`; false where one is needed by now."""
        with self._turn():
            if self._fleet.jobs[job].checkpoint in {record.ref for record in records}:
                return False
            self._apply(registry.collected(job, records, freed_bytes))
            return True

    def submit(self, jobs: Sequence[Submission]) -> None:
        """See :func:`orchestrator.fleet.operations.submit`. Raises: OverBudget."""
        with self._turn():
            self._asked()
            self._has_had_work = True
            change = operations.submit(self._fleet, jobs, self._clock.monotonic())
            self._spending.refuse_more(self._fleet.after(change))
            self._apply(change)

    def drain(self, reason: str) -> None:
        """See :func:`orchestrator.fleet.operations.drain`."""
        with self._turn():
            self._asked()
            self._apply(operations.drain(self._fleet, reason))

    def drain_island(self, name: str, reason: str) -> None:
        """See :func:`orchestrator.fleet.steering.drain_island`."""
        with self._turn():
            self._asked()
            self._apply(steering.drain_island(self._fleet, name, reason))

    def let_go(self, islands: Sequence[str]) -> None:
        """See :func:`orchestrator.fleet.steering.let_go`."""
        with self._turn():
            self._apply(steering.let_go(self._fleet, islands))

    def steer(self, action: Action, jobs: Sequence[str], reason: str) -> None:
        """See :func:`orchestrator.fleet.steering.steer`. Raises: OverBudget."""
        with self._turn():
            self._asked()
            now = self._clock.monotonic()
            change = steering.steer(self._fleet, action, jobs, reason, now)
            if action in {Action.RESUME, Action.RETRY}:
                self._spending.refuse_more(self._fleet.after(change))
            self._apply(change)

    @property
    def curves(self) -> Curves:
        """The loss of each job, as told so far."""
        return self._curves

    @property
    def tally(self) -> Tally:
        """What happened since this orchestrator serves."""
        with self._changed:
            return self._tally.copy()

    def wall(self) -> float:
        """Time of day, seconds since the Unix epoch; as events carry it."""
        return self._clock.wall()

    def seen(self) -> FleetView:
        """What an operator sees, for one who only looks on: it keeps nobody from leaving."""
        with self._changed:
            known = self._fleet, self._spending.ledger, self._spending.budget, self._last_event
        return self._view(*known)

    def stored_events(self, after: int, limit: int) -> tuple[Event, ...]:
        """Some events with a number above ``after``, for one who only looks on."""
        return self._store.events(after, limit)

    def view(self) -> FleetView:
        """What an operator sees."""
        with self._turn():
            self._asked()
            known = self._fleet, self._spending.ledger, self._spending.budget, self._last_event
        return self._view(*known)

    def events(self, after: int, timeout_s: float) -> tuple[Event, ...]:
        """Some events with a number above ``after``; waits for the first up to ``timeout_s``."""
        with self._changed:
            self._asked()
            if not self._changed.wait_for(lambda: self._last_event > after, timeout_s):
                return ()
        return self._store.events(after, _EVENTS_AT_ONCE)

    def tick(self) -> None:
        """See :func:`orchestrator.fleet.operations.tick`, and ``silent`` there."""
        with self._turn():
            now = self._clock.monotonic()
            self._apply(gangs.look(self._fleet, now))
            self._apply(operations.tick(self._fleet, now))
            if now >= self._listen_at:  # looks at every island, while all of them wait
                self._listen_at = now + self._fleet.policy.term_s / 4
                running = self._spending.ledger.running
                self._apply(operations.silent(self._fleet, running, now))

    def island_gone(self, name: str, reason: str) -> None:
        """See :func:`orchestrator.fleet.operations.island_gone`."""
        with self._turn():
            now = self._clock.monotonic()
            self._apply(operations.island_gone(self._fleet, name, reason, now))

    def nodes_started(self, islands: Sequence[str]) -> None:
        """A provider is about to be asked for nodes; see :mod:`orchestrator.fleet.ledger`."""
        with self._turn():
            self._apply(self._spending.started(islands))

    def is_over(self, island: str) -> bool:
        """See :meth:`orchestrator.fleet.ledger.Ledger.is_over`."""
        return self._spending.ledger.is_over(island)

    def reconcile(self, nodes: Sequence[Node]) -> None:
        """See :func:`orchestrator.fleet.ledger.reconciled`, and ``seen`` of ``matching`` there."""
        with self._turn():
            self._apply(self._spending.reconciled(self._fleet, nodes))
            self._apply(matching.seen(self._fleet, nodes))

    def keep_within_budget(self, num_new: int = 0) -> bool:
        """Pause the run before it takes more, with so many nodes more; whether it is paused now."""
        with self._turn():
            self._apply(self._spending.kept(self._fleet, num_new))
            return self._fleet.draining

    def give_up(self, reason: str) -> None:
        """See :func:`orchestrator.fleet.operations.give_up`."""
        with self._turn():
            self._apply(operations.give_up(self._fleet, reason))

    @property
    def has_had_work(self) -> bool:
        """Whether anybody has given it jobs since it began to serve."""
        return self._has_had_work

    def confirm(self) -> None:
        """See :meth:`orchestrator.storage.store.Store.confirm`."""
        self._store.confirm()

    def retire(self, unasked_s: float) -> bool:
        """Stop for good if no operator asked anything for so long; later calls are turned away.

        Servers of experts that are known keep it: nobody would find them here any more.
        """
        with self._changed:
            unasked = self._clock.monotonic() - self._asked_at >= unasked_s
            if unasked and not self._retired and not self.servers.are_there:
                self.leave("nothing is left to do, and nobody asks for anything")
                self._retired = True
            return self._retired

    def leave(self, reason: str) -> None:
        """Say why this orchestrator ends, if it still can."""
        with suppress(Unreachable):
            self.tell(Event("orchestrator-leaves", reason))

    def tell(self, event: Event) -> None:
        """Keep an event that changes nothing else."""
        with self._turn():
            self._apply(Change(events=(event,)))

    def _view(self, fleet: Fleet, ledger: Ledger, budget: BudgetView, last_event: int) -> FleetView:
        """Of frozen values, so that nobody waits while it is put together."""
        view, spent = fleet.view(self._clock.monotonic()), ledger.spent(self._clock.wall())
        servers = self.servers.view()
        return replace(view, last_event=last_event, budget=budget, servers=servers, **asdict(spent))

    def _asked(self) -> None:
        self._asked_at = self._clock.monotonic()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Inside, nobody else decides, and the fleet is as the store has it."""
        with self._changed:
            self._store.confirm()
            if self._doubtful.events:
                if self._store.last_event() > self._last_event:
                    self._believe(self._doubtful)
                self._doubtful = Change()
            yield

    def _apply(self, change: Change) -> None:
        if self._retired:
            raise Unreachable("this orchestrator is leaving; start another with the same command")
        if change.events or change.nodes:
            try:
                self._store.save(change, self._last_event + 1, self._clock.wall())
            except Unreachable:
                self._doubtful = change
                raise
        self._believe(change)

    def _believe(self, change: Change) -> None:
        self._fleet = self._fleet.after(change)
        self._spending.believe(change)
        if change.events:
            self._last_event += len(change.events)
            self._changed.notify_all()
        for event in change.events:
            self._tally.note(event, self._clock.wall())
            fields = {"reason": event.reason, "job": event.job, "island": event.island}
            level = logging.WARNING if event.kind in _LOUD else logging.INFO
            log.log(level, event.kind, extra={"fields": fields})
