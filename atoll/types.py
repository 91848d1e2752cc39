"""The nouns of the house, as small frozen values.

These are all that crosses the wire between islands and orchestrator; bulk bytes go through the blob
store.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class Role(enum.StrEnum):
    """What a job trains."""

    EXPERT = "expert"
    ROUTER = "router"
    MONOLITH = "monolith"


class JobState(enum.StrEnum):
    """Where a job stands."""

    WAITING = "waiting"  # for an island, or for its back-off to pass
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    PAUSED = "paused"  # by a drain, an operator or a crash loop, until it is resumed
    CANCELLED = "cancelled"  # by an operator

    @property
    def is_open(self) -> bool:
        """Whether an island works on the job, or will."""
        return self is JobState.WAITING or self is JobState.LEASED

    @property
    def is_ended(self) -> bool:
        """Whether nobody will, unless somebody asks for it anew."""
        return self in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class Directive(enum.StrEnum):
    """What the orchestrator wants of an island, told in answer to a heartbeat."""

    CONTINUE = "continue"
    DRAIN = "drain"  # checkpoint, commit, release
    CANCEL = "cancel"  # kill the trainer, release
    RESTART = "restart"  # its trainer stands still: kill it, and release the lease as failed


class Action(enum.StrEnum):
    """What an operator can do to a job."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"


class Ending(enum.StrEnum):
    """How an island's work on a job came to an end."""

    FINISHED = "finished"
    DRAINED = "drained"
    FAILED = "failed"
    REFUSED = "refused"  # the input is at fault: another try would end the same
    DAMAGED = "damaged"  # the checkpoint to go on from is not what was written
    PREEMPTED = "preempted"  # the island was told to leave; what was done is committed
    NODE_LOST = "node-lost"  # the island goes on with the nodes it has left


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One unit of training, as submitted.

    Attributes:
        name: unique within the run, e.g. ``expert-3``.
        role: what is trained.
        index: which expert; 0 for the other roles.
        run_uri: blob-store URL of the run.
        steps: optimizer steps until done.
        digest: hash of all that shapes the weights; a job is never continued under another one.
    """

    name: str
    role: Role
    index: int
    run_uri: str
    steps: int
    digest: str


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """One published checkpoint.

    Attributes:
        key: folder below the run's URI, so that a run can be moved or copied whole.
        digest: sha256 (hex) of the checkpoint's manifest, which lists the digest of every file.
        step: optimizer steps it contains.
        epoch: fencing epoch of the lease it was written under.
    """

    key: str
    digest: str
    step: int
    epoch: int


class Keeping(enum.StrEnum):
    """What became of a checkpoint that was committed."""

    KEPT = "kept"
    DAMAGED = "damaged"  # its bytes are gone, or not those that were written
    COLLECTED = "collected"  # deleted, because newer or better ones are kept


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A committed checkpoint as the registry knows it.

    Attributes:
        job: name of its job.
        ref: the checkpoint.
        keeping: what became of it.
        loss: mean training loss of the steps before it; NaN where its writer said none.
        at: wall-clock time of its commit, seconds since the Unix epoch.
    """

    job: str
    ref: CheckpointRef
    keeping: Keeping = Keeping.KEPT
    loss: float = math.nan
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as it is asked for, with what the run's store holds of it already.

    The store outlives every database of an orchestrator: who knows less than it says catches up.

    Attributes:
        spec: the job.
        epoch: newest fencing epoch that anything was written under; 0 if nothing was.
        checkpoint: the one its stage ended with, if it did.
        damaged: whether a file of that checkpoint is gone, or not what was written.
    """

    spec: JobSpec
    epoch: int = 0
    checkpoint: CheckpointRef | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until a time.

    Attributes:
        job: name of the job.
        island: who holds it.
        epoch: fencing number; grows with every grant, never reused.
        term_s: seconds the lease lives without a heartbeat.
    """

    job: str
    island: str
    epoch: int
    term_s: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a trainer does besides its loss and pace; None where that is not known.

    Attributes:
        tflops_per_s: 10^12 operations a second, of each device.
        mfu: part of the device's peak that this is.
        memory_bytes: most that tensors took on the GPU; on a CPU what the process takes.
        wait_share: part of the time in which it waited for examples.
        grad_norm: mean over the steps of the loss, before clipping.
        held_out: loss on the samples held out, when it was last measured.
    """

    tflops_per_s: float | None = None
    mfu: float | None = None
    memory_bytes: int | None = None
    wait_share: float | None = None
    grad_norm: float | None = None
    held_out: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trainer is, as it last said itself.

    Attributes:
        step: optimizer steps done.
        loss: mean training loss since the last report; NaN before the first step.
        samples_per_s: training throughput since the last report.
        fetched_bytes: of its shards that are at hand, while it makes them so; 0 once it trains.
        vitals: since the last report.
    """

    step: int
    loss: float
    samples_per_s: float
    fetched_bytes: int = 0
    vitals: Vitals = Vitals()


MOST_INCIDENTS = 16  # told at once


class IncidentKind(enum.StrEnum):
    """What an island came over by itself; also the kind of the event that tells of it."""

    RESTARTED = "trainer-restarted"
    SKIPPED = "steps-skipped"
    ROLLED_BACK = "training-rolled-back"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong under a lease and was mended there; told with its heartbeats.

    Attributes:
        number: among those of the lease, from 1, so that each is noted once however often it is
            told.
        kind: of it.
        reason: which rank, what happened, and at which step, in words.
    """

    number: int
    kind: IncidentKind
    reason: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """A lease together with what the trainer needs to begin or go on.

    Attributes:
        lease: to work under.
        spec: what is trained.
        checkpoint: to go on from; None at the beginning.
        restarts: how often the island has started its trainer anew under this lease.
        passed: samples that are not to be learnt from again, counted from the first: they made the
            training leap.
    """

    lease: Lease
    spec: JobSpec
    checkpoint: CheckpointRef | None
    restarts: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to lease just now.

    Attributes:
        retry_after_s: when to ask again.
        dismissed: nothing will come any more; the island may go.
    """

    retry_after_s: float
    dismissed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work under a lease ended.

    Attributes:
        ending: how.
        reason: why, in words.
        log: the last lines its trainer wrote, where it failed.
    """

    ending: Ending
    reason: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One transition of the fleet, kept for good.

    Attributes:
        number: position in the run's history, from 1; 0 until it is stored.
        at: wall-clock time of the orchestrator, seconds since the Unix epoch. For people only.
        kind: e.g. ``lease-granted``, ``checkpoint-committed``, ``island-lost``.
        job: name of the job concerned, or "".
        island: name of the island concerned, or "".
        epoch: fencing epoch concerned, or 0.
        reason: why, in words.
    """

    kind: str
    reason: str
    job: str = ""
    island: str = ""
    epoch: int = 0
    number: int = 0
    at: float = 0.0
