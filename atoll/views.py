"""What an operator sees of a run: its jobs, its islands, and who serves its experts."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.types import CheckpointRef, JobSpec, JobState, Progress


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as an operator sees it.

    Attributes:
        spec: as submitted last.
        state: where it stands.
        epoch: fencing number of its newest lease; how many leases it took.
        island: who works on it, or "".
        failures: failed tries since the newest checkpoint.
        reason: why it stands where it does, in words.
        progress: as its trainer said last.
        checkpoint: the newest committed.
        losses: islands lost since the newest checkpoint.
        preemptions: islands reclaimed since the newest checkpoint.
        log: the last lines of the trainer that failed last.
        crash_loop: whether it is paused because its trainer failed again and again.
        lease_left_s: until its lease ends without a heartbeat; 0 without one.
    """

    spec: JobSpec
    state: JobState
    epoch: int
    island: str
    failures: int
    reason: str
    progress: Progress
    checkpoint: CheckpointRef | None
    losses: int = 0
    preemptions: int = 0
    log: str = ""
    crash_loop: bool = False
    lease_left_s: float = 0.0


@dataclass(frozen=True, slots=True)
class IslandView:
    """An island as an operator sees it.

    Attributes:
        name: unique for every start of an island.
        state: ``idle``, ``working``, ``lost`` or ``gone``.
        job: name of the job it works on, or "".
        silent_s: seconds since it was last heard of.
        nodes: that train together, the leader first; none where it has but one.
    """

    name: str
    state: str
    job: str
    silent_s: float
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server of experts as an operator sees it.

    Attributes:
        address: ``host:port`` at which gateways call it.
        process: that serves, in words.
        experts: that it serves.
        rows_per_second: about, of the slowest of them; 0 before there was anything to measure.
        lasts_s: until it has to say again that it is there.
    """

    address: str
    process: str
    experts: tuple[int, ...]
    rows_per_second: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class BudgetView:
    """What a run may take; None where there is no limit.

    Attributes:
        cost: in the unit of the prices.
        node_hours: of all nodes together.
        deadline: time of day, seconds since the Unix epoch.
        reached: why the run is paused for its budget, in words; "" unless it is.
    """

    cost: float | None = None
    node_hours: float | None = None
    deadline: float | None = None
    reached: str = ""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The whole state of a run, as an operator sees it.

    Attributes:
        jobs: in order of submission.
        islands: in order of appearance.
        draining: every island is to checkpoint and leave.
        last_event: number of the newest event.
        node_hours: that the provider's nodes have run, all together.
        cost: of them so far, see :mod:`orchestrator.fleet.ledger`.
        budget: what the run may take.
        servers: of experts, that have told the orchestrator of themselves.
    """

    jobs: tuple[JobView, ...]
    islands: tuple[IslandView, ...]
    draining: bool
    last_event: int = 0
    node_hours: float = 0.0
    cost: float = 0.0
    budget: BudgetView = BudgetView()
    servers: tuple[ServerView, ...] = ()
