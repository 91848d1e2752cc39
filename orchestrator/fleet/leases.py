"""What islands ask of the fleet: work, more time, publication, and to be let go.

Pure: each function reads a fleet and the time, and returns its answer with the change it makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from atoll import layout
from atoll.errors import LeaseLost, Refused
from atoll.reasons import brief
from atoll.types import (
    Assignment,
    CheckpointRecord,
    CheckpointRef,
    Directive,
    Ending,
    Event,
    Incident,
    JobState,
    Lease,
    Outcome,
    Progress,
    Wait,
)
from orchestrator.fleet import matching, registry
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.setbacks import Cause, set_back
from orchestrator.fleet.state import NO_PROGRESS, TO_BE, Change, Fleet, Island, Job, last_of

_MAX_WAIT_S = 1.0
_MIN_WAIT_S = 0.05


def acquire(
    fleet: Fleet, island: str, request_id: str, now: float
) -> tuple[Assignment | Wait, Change]:
    """Grant a job that waits, see :func:`orchestrator.fleet.matching.choice`, under a new epoch.

    The same request gets the same lease again. An island that asks anew while it holds a lease
    under which nothing was said never got to know of it: that lease ends. Otherwise the request
    may be an old one that comes late: the lease stands until it runs out.
    """
    refuse_job_name(fleet, island)
    held, known = fleet.held_by(island), fleet.islands.get(island)
    if known and known.dismissed == request_id:  # that answer was lost
        return Wait(_MAX_WAIT_S, dismissed=True), Change()
    if held and held.request_id == request_id:
        return _assignment(held, fleet), _heard(fleet, held, now, heard=held.heard)
    if held and held.heard:
        return _wait(held.expires_at - now, fleet), Change()
    if held:
        change = _forget(held, fleet, now)
        fleet = fleet.after(change)
    else:
        change = joined(fleet, island)
    leaving = fleet.is_leaving(island)
    if fleet.draining or fleet.is_over or leaving:
        why = "all jobs are over"
        if fleet.draining or leaving:
            why = "the fleet drains" if fleet.draining else "it was told to leave"
        event = Event("island-dismissed", f"{island} may go: {why}", island=island)
        told = request_id if leaving else ""
        left = Island(island, now, "gone", leaving=leaving, dismissed=told)
        gone = Change(islands=(left,), events=(event,))
        return Wait(_MAX_WAIT_S, dismissed=True), change.then(gone)
    ready = matching.choice(fleet, island, now)
    if ready is None:
        idle = Change(islands=(Island(island, now),))
        pauses_s = (job.ready_at - now for job in fleet.jobs.waiting() if job.ready_at > now)
        return _wait(min(pauses_s, default=_MAX_WAIT_S), fleet), change.then(idle)
    granted = _granted(ready, fleet, island, request_id, now)
    event = _event("lease-granted", granted.reason, granted)
    working = Island(island, now, "working", granted.spec.name)
    grant = Change(jobs=(granted,), islands=(working,), events=(event,))
    return _assignment(granted, fleet), change.then(grant)


def refuse_job_name(fleet: Fleet, island: str) -> None:
    """Logs and views tell jobs and islands apart by their names. Raises: Refused."""
    if island in fleet.jobs:
        raise Refused(f"{island} is the name of a job; an island needs another")


def heartbeat(
    fleet: Fleet, lease: Lease, progress: Progress, now: float, incidents: Sequence[Incident] = ()
) -> tuple[Directive, Change]:
    """Extend a lease by a term and note how far its trainer is, and what it came over by itself.

    Raises:
        LeaseLost: the lease is not current.
    """
    before = _held(fleet, lease)
    moved_at = now if _advanced(before.progress, progress) else before.moved_at
    heard = _heard(fleet, before, now, progress=progress, moved_at=moved_at)
    heard = _noted(heard, incidents)
    job = heard.jobs[-1]
    if job.wish is JobState.CANCELLED:
        return Directive.CANCEL, heard
    if fleet.draining or job.wish is JobState.PAUSED or fleet.is_leaving(lease.island):
        return Directive.DRAIN, heard
    if now - moved_at <= fleet.policy.stuck_s:
        return Directive.CONTINUE, heard
    words = f"no step for {now - moved_at:.0f} s at step {progress.step}; its trainer is killed"
    # A full time again: the island may need a moment to obey, or may have missed the answer.
    warned = replace(job, moved_at=now, reason=words)
    stuck = Change(jobs=(warned,), events=(_event("trainer-stuck", words, warned),))
    return Directive.RESTART, heard.then(stuck)


def commit(
    fleet: Fleet, lease: Lease, checkpoint: CheckpointRef, now: float, loss: float = math.nan
) -> Change:
    """Publish a checkpoint that was not published before.

    Args:
        fleet: as it is.
        lease: under which it was written.
        checkpoint: as uploaded.
        now: on the orchestrator's monotonic clock.
        loss: mean training loss of the steps before it; NaN if it is not known.

    Raises:
        LeaseLost: the lease is not current.
        Refused: the checkpoint was not written under this lease, or goes back in steps.
    """
    job = _held(fleet, lease)
    if checkpoint.epoch != lease.epoch or not layout.is_checkpoint_folder(
        checkpoint.key, lease.job, lease.epoch, checkpoint.step
    ):
        raise Refused(
            f"{checkpoint.key} (epoch {checkpoint.epoch}) is not where a checkpoint of {lease.job} "
            f"at step {checkpoint.step} under epoch {lease.epoch} belongs"
        )
    if checkpoint.step <= job.step:
        raise Refused(
            f"{lease.job} has {job.step} committed steps already; "
            f"a checkpoint at step {checkpoint.step} would take it back"
        )
    heard = _heard(fleet, job, now, checkpoint=checkpoint, failures=0, losses=0, preemptions=0)
    event = _event("checkpoint-committed", f"step {checkpoint.step} is safe", job)
    record = CheckpointRecord(lease.job, checkpoint, loss=loss)
    return heard.then(Change(checkpoints=(record,), events=(event,)))


def release(fleet: Fleet, lease: Lease, outcome: Outcome, request_id: str, now: float) -> Change:
    """Give a lease back. The same request changes nothing the second time.

    Raises:
        LeaseLost: the lease is not current.
        Refused: the work is called finished although nothing was committed under this lease, or
            the checkpoint damaged although there is none.
    """
    known = fleet.jobs.get(lease.job)
    if known and request_id and known.released == request_id:
        return Change()
    job = replace(_held(fleet, lease), released=request_id)
    reason = brief(outcome.reason)
    match outcome.ending:
        case Ending.FINISHED:
            after, kind = _finished(job, fleet, lease), "lease-released"
        case Ending.DRAINED:
            after = replace(fleet.freed(job, reason or f"drained at step {job.step}"), ready_at=now)
            if after.state is job.wish and job.reason.startswith(TO_BE):
                told = (job.reason.removeprefix(TO_BE), reason)
                after = replace(after, reason="; ".join(filter(None, told)))
            kind = "lease-released"
        case Ending.FAILED:
            job = replace(job, log=last_of(outcome.log))
            after, kind = set_back(job, Cause.FAILURE, reason, fleet, now), "attempt-failed"
        case Ending.PREEMPTED:
            words = reason or f"told to leave at step {job.step}"
            after, kind = set_back(job, Cause.PREEMPTION, words, fleet, now), "island-preempted"
        case Ending.NODE_LOST:
            after, kind = set_back(job, Cause.LOSS, reason, fleet, now), "node-lost"
        case Ending.DAMAGED:
            after, kind = registry.doubt(job, fleet, reason), "checkpoint-doubted"
        case Ending.REFUSED:
            job = replace(job, log=last_of(outcome.log))
            after = replace(fleet.freed(job, reason), failures=job.failures + 1)
            after, kind = replace(after, state=JobState.FAILED), "job-failed"
    kind = {JobState.DONE: "job-done", JobState.FAILED: "job-failed"}.get(after.state, kind)
    kind = "job-crash-loop" if after.crash_loop else kind
    event = Event(kind, after.reason, lease.job, lease.island, lease.epoch)
    idle = Island(lease.island, now, leaving=fleet.is_leaving(lease.island))
    return Change(jobs=(after,), islands=(idle,), events=(event,))


def _wait(seconds: float, fleet: Fleet) -> Wait:
    """Ask again in time to be known as alive, and not in a rush."""
    most_s = min(_MAX_WAIT_S, fleet.policy.term_s / 3)
    return Wait(max(min(seconds, most_s), min(_MIN_WAIT_S, most_s)), dismissed=False)


def _finished(job: Job, fleet: Fleet, lease: Lease) -> Job:
    if job.is_complete:
        return fleet.freed(job, f"all {job.spec.steps} steps are done")
    if job.checkpoint and job.checkpoint.epoch == lease.epoch:
        # The job was extended while its trainer ran to the former end.
        return fleet.freed(job, f"goes on from step {job.step} to {job.spec.steps}")
    raise Refused(
        f"{job.spec.name} is called finished, but step {job.spec.steps} was never committed"
    )


def _granted(job: Job, fleet: Fleet, island: str, request_id: str, now: float) -> Job:
    start = f"from step {job.step}" if job.checkpoint else "from the beginning"
    return replace(
        job,
        state=JobState.LEASED,
        epoch=job.epoch + 1,
        island=island,
        request_id=request_id,
        expires_at=now + fleet.policy.term_s,
        heard=False,
        moved_at=now,
        incidents=0,
        progress=replace(NO_PROGRESS, step=job.step),
        reason=f"granted to {island} {start}",
    )


def _advanced(before: Progress, now: Progress) -> bool:
    """Whether a trainer made a step, or fetched more of what it needs for the next."""
    return (now.step, now.fetched_bytes) > (before.step, before.fetched_bytes)


def _held(fleet: Fleet, lease: Lease) -> Job:
    """The job under a lease, if the lease is current."""
    job = fleet.jobs.get(lease.job)
    if job is None:
        raise LeaseLost(f"no job of this run is called {lease.job!r}")
    current = (job.state, job.epoch, job.island)
    if current == (JobState.LEASED, lease.epoch, lease.island):
        return job
    name = f"the lease of {lease.island} on {lease.job} (epoch {lease.epoch})"
    if job.epoch > lease.epoch:
        other = job.island or "another island"
        raise LeaseLost(f"{name} has passed to {other} under epoch {job.epoch}")
    raise LeaseLost(f"{name} has ended: {job.reason}")


def _heard(fleet: Fleet, job: Job, now: float, **told: Any) -> Change:
    """Extends the job's lease, because its island was heard, and notes what it told."""
    job = replace(job, expires_at=now + fleet.policy.term_s, **{"heard": True, **told})
    leaving = fleet.is_leaving(job.island)
    working = Island(job.island, now, "working", job.spec.name, leaving)
    return Change(jobs=(job,), islands=(working,))


def joined(fleet: Fleet, island: str) -> Change:
    """What is told of an island that is heard for the first time, or again."""
    known = fleet.islands.get(island)
    if known is not None and known.state != "gone":
        return Change()
    words = "came back" if known else "was heard for the first time by this orchestrator"
    return Change(events=(Event("island-joined", f"{island} {words}", island=island),))


def _noted(heard: Change, incidents: Sequence[Incident]) -> Change:
    """Each incident once: an answer may have been lost, and a call may come late."""
    job = heard.jobs[-1]
    new = sorted((it for it in incidents if it.number > job.incidents), key=lambda it: it.number)
    if not new:
        return heard
    noted = replace(job, incidents=new[-1].number, reason=brief(new[-1].reason))
    events = tuple(_event(it.kind.value, brief(it.reason), noted) for it in new)
    return heard.then(Change(jobs=(noted,), events=events))


def _forget(held: Job, fleet: Fleet, now: float) -> Change:
    words = f"{held.island} asked for other work"
    event = _event("lease-released", words, held)
    return Change(jobs=(replace(fleet.freed(held, words), ready_at=now),), events=(event,))


def _assignment(job: Job, fleet: Fleet) -> Assignment:
    return Assignment(job.lease(fleet.policy), job.spec, job.checkpoint)


def _event(kind: str, reason: str, job: Job) -> Event:
    return Event(kind, reason, job.spec.name, job.island, job.epoch)
