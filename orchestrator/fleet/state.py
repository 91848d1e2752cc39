"""The fleet: the orchestrator's whole state, as frozen values.

What happens to it is decided by the pure functions of :mod:`orchestrator.fleet.leases` (what
islands ask) and :mod:`orchestrator.fleet.operations` (what operators, providers and time bring).
Each reads a fleet and returns a :class:`Change`: what is different afterwards, and why, in words.
Nothing here reads a clock or does I/O, so a service and a simulator can drive the same functions.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from immutables import Map

from atoll.types import (
    CheckpointRecord,
    CheckpointRef,
    Event,
    JobSpec,
    JobState,
    Lease,
    Progress,
    Vitals,
)
from atoll.views import FleetView, IslandView, JobView
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.islands import Islands
from orchestrator.fleet.jobs import Jobs
from orchestrator.fleet.ledger import NodeUse, Prices
from orchestrator.fleet.muster import Muster

_MOST_LOG = 4000  # characters of the end of a log
TO_BE = "to be "  # begins the reason of a job that will stand where somebody wishes it to
NO_PROGRESS = Progress(step=0, loss=math.nan, samples_per_s=0.0)


def last_of(log: str) -> str:
    """The end of what a trainer wrote, short enough to be kept with its job."""
    return log if len(log) <= _MOST_LOG else f"…{log[-_MOST_LOG:]}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the fleet goes by.

    Attributes:
        term_s: seconds a lease lives without a heartbeat.
        max_failures: failed tries in a row, without a new checkpoint, that a job is forgiven.
        backoff_s: pause after the first failure; doubles with each one more.
        max_losses: islands lost in a row that a job is forgiven.
        max_preemptions: islands reclaimed in a row that a job is forgiven.
        stuck_s: time a trainer may stand still before it is started anew.
        prices: of islands, with all their nodes.
        speeds: of islands beside each other, by the name of their provider; none are all alike.
        max_nodes: of an island.
        min_nodes: with which an island of several still works.
        gather_s: time for which too few nodes wait for others.
        requeues: whether a provider may start ``island-3`` again, as ``island-3.1``.
    """

    term_s: float
    max_failures: int
    backoff_s: float
    max_losses: int = sys.maxsize
    max_preemptions: int = sys.maxsize
    stuck_s: float = math.inf
    prices: Prices = field(default_factory=Prices)
    speeds: Mapping[str, float] = field(default_factory=dict)
    max_nodes: int = 1
    min_nodes: int = 1
    gather_s: float = math.inf
    requeues: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        spec: as submitted last.
        state: where it stands.
        epoch: fencing number of the newest lease; 0 before the first.
        island: who holds the lease; "" if nobody does.
        request_id: the request that granted the newest lease.
        released: the request that gave a lease back last.
        expires_at: when the lease ends without a heartbeat, on the orchestrator's monotonic clock.
        ready_at: not granted before, on the same clock.
        checkpoint: the newest committed.
        progress: as its trainer said last.
        failures: failed tries since the newest checkpoint.
        losses: islands lost since then.
        preemptions: islands reclaimed since then.
        heard: whether the island has said anything under the lease.
        moved_at: when its trainer was last seen to begin, fetch, or make a step, on the same clock.
        incidents: how many its island has come over by itself, under the newest lease.
        log: the last lines of the trainer that failed last.
        wish: where an operator wants it to stand once its lease has ended; None leaves it.
        reason: why it stands where it does, in words.
        crash_loop: whether it is paused because its trainer failed again and again.
        doubted: its checkpoint, while that is being verified; nobody works on it meanwhile.
        foreign_epoch: the newest that was granted by a database which is gone; what was written up
            to it is left alone.
    """

    spec: JobSpec
    state: JobState = JobState.WAITING
    epoch: int = 0
    island: str = ""
    request_id: str = ""
    released: str = ""
    expires_at: float = 0.0
    ready_at: float = 0.0
    checkpoint: CheckpointRef | None = None
    progress: Progress = NO_PROGRESS
    failures: int = 0
    losses: int = 0
    preemptions: int = 0
    heard: bool = False
    moved_at: float = 0.0
    incidents: int = 0
    log: str = ""
    wish: JobState | None = None
    reason: str = ""
    crash_loop: bool = False
    doubted: CheckpointRef | None = None
    foreign_epoch: int = 0

    @property
    def step(self) -> int:
        """Committed optimizer steps."""
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def is_complete(self) -> bool:
        """Whether all its steps are committed."""
        return self.step >= self.spec.steps

    @property
    def is_over(self) -> bool:
        """Whether no island will work on it any more, unless it is submitted again."""
        return not self.state.is_open

    def is_ready(self, now: float) -> bool:
        """Whether a waiting job may be granted."""
        return self.ready_at <= now and self.doubted is None

    def lease(self, policy: Policy) -> Lease:
        """Its current lease."""
        return Lease(self.spec.name, self.island, self.epoch, policy.term_s)


@dataclass(frozen=True, slots=True)
class Island:
    """One island, from its first word on.

    Attributes:
        name: unique for every start of an island.
        heard_at: when it was last heard of, on the orchestrator's monotonic clock.
        state: ``idle``, ``working``, ``lost`` (silent for a term) or ``gone`` (left, or dead).
        job: what it works on, or "".
        leaving: whether an operator lets it go.
        dismissed: the request for work that was answered so; "" until one was.
    """

    name: str
    heard_at: float
    state: str = "idle"
    job: str = ""
    leaving: bool = False
    dismissed: str = ""


class Change(NamedTuple):
    """What a transition makes different.

    Attributes:
        jobs: jobs as they are afterwards; the later wins.
        islands: islands as they are afterwards; the later wins.
        checkpoints: entries of the registry as they are afterwards; those kept are published here.
        events: what is worth keeping. A change without one need not outlive the process.
        draining: whether the fleet drains from now on; None leaves it.
        ticked_at: when time last passed; None leaves it.
        nodes: provider's nodes as they are afterwards.
        speeds: of islands from now on; None leaves them.
        gangs: nodes of islands of several as they are afterwards; the later wins.
    """

    jobs: tuple[Job, ...] = ()
    islands: tuple[Island, ...] = ()
    checkpoints: tuple[CheckpointRecord, ...] = ()
    events: tuple[Event, ...] = ()
    draining: bool | None = None
    ticked_at: float | None = None
    nodes: tuple[NodeUse, ...] = ()
    speeds: Mapping[str, float] | None = None
    gangs: tuple[Muster, ...] = ()

    def then(self, later: Change) -> Change:
        """Both, one after the other."""
        return Change(
            self.jobs + later.jobs,
            self.islands + later.islands,
            self.checkpoints + later.checkpoints,
            self.events + later.events,
            self.draining if later.draining is None else later.draining,
            self.ticked_at if later.ticked_at is None else later.ticked_at,
            self.nodes + later.nodes,
            self.speeds if later.speeds is None else later.speeds,
            self.gangs + later.gangs,
        )


def together(changes: Sequence[Change]) -> Change:
    """Many changes, one after the other, in one."""
    half = len(changes) // 2
    if not half:
        return changes[0]
    # By halves, because each `then` copies both of its parts.
    return together(changes[:half]).then(together(changes[half:]))


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything the orchestrator knows.

    Attributes:
        policy: what it goes by.
        jobs: by name, in order of submission.
        islands: by name, in order of appearance; of those that are gone only the last.
        draining: every island is to checkpoint and leave.
        ticked_at: when time last passed, on the orchestrator's monotonic clock.
        speeds: of the islands whose nodes live, beside each other; none where all are alike.
        gangs: the nodes of islands of several, by island; of those where any is there.
    """

    policy: Policy
    jobs: Jobs = field(default_factory=Jobs)
    islands: Islands = field(default_factory=Islands)
    draining: bool = False
    ticked_at: float | None = None
    speeds: Mapping[str, float] = field(default_factory=dict)
    gangs: Map[str, Muster] = field(default_factory=Map)

    @property
    def is_over(self) -> bool:
        """Whether there were jobs and none needs an island any more."""
        return not self.jobs.num_open and bool(self.jobs)

    @property
    def is_settled(self) -> bool:
        """Whether nobody works and nobody will."""
        return not self.jobs.num_leased and (self.draining or self.is_over)

    def is_leaving(self, island: str) -> bool:
        """Whether an island is to leave, and has not been dismissed yet."""
        known = self.islands.get(island)
        return known is not None and known.leaving and not known.dismissed

    def held_by(self, island: str) -> Job | None:
        """The job an island holds the lease of."""
        known = self.islands.get(island)
        job = self.jobs.get(known.job) if known else None
        return job if job and job.island == island and job.state is JobState.LEASED else None

    def freed(self, job: Job, reason: str) -> Job:
        """A job without its lease: done if all is committed, else paused or waiting."""
        open_state = job.wish or (JobState.PAUSED if self.draining else JobState.WAITING)
        told = replace(
            job.progress,
            step=job.step,
            samples_per_s=0.0,
            fetched_bytes=0,
            vitals=Vitals(held_out=job.progress.vitals.held_out),
        )
        return replace(
            job,
            state=JobState.DONE if job.is_complete else open_state,
            island="",
            progress=told,
            wish=None,
            reason=reason,
        )

    def after(self, change: Change) -> Fleet:
        """The fleet with a change applied."""
        jobs, islands, ticked_at = self.jobs, self.islands, self.ticked_at
        if change.jobs:
            jobs = jobs.updated(change.jobs)
        if change.ticked_at is not None:
            ticked_at = change.ticked_at
            jobs = jobs.looked_through(ticked_at)
        if change.islands:
            islands = islands.updated(change.islands)
        draining = self.draining if change.draining is None else change.draining
        speeds = self.speeds if change.speeds is None else change.speeds
        gangs = self.gangs
        for muster in change.gangs:
            if muster.present:
                gangs = gangs.set(muster.island, muster)
            elif muster.island in gangs:
                gangs = gangs.delete(muster.island)
        return Fleet(self.policy, jobs, islands, draining, ticked_at, speeds, gangs)

    def view(self, now: float) -> FleetView:
        """What an operator sees."""
        return FleetView(
            jobs=tuple(
                JobView(
                    spec=job.spec,
                    state=job.state,
                    epoch=job.epoch,
                    island=job.island,
                    failures=job.failures,
                    reason=job.reason,
                    progress=job.progress,
                    checkpoint=job.checkpoint,
                    losses=job.losses,
                    preemptions=job.preemptions,
                    log=job.log,
                    crash_loop=job.crash_loop,
                    lease_left_s=(
                        max(0.0, job.expires_at - now) if job.state is JobState.LEASED else 0.0
                    ),
                )
                for job in self.jobs.values()
            ),
            islands=tuple(
                IslandView(
                    island.name,
                    island.state,
                    island.job,
                    now - island.heard_at,
                    self.gangs[island.name].gang.names if island.name in self.gangs else (),
                )
                for island in self.islands.values()
            ),
            draining=self.draining,
        )
