"""What becomes of a checkpoint after its commit: it is doubted, found sound or damaged, collected.

An island that cannot load a checkpoint may itself be at fault: a mount that is not there, a disk
that errs. So its word only raises a doubt, and nobody works on the job until the checkpoint was
verified elsewhere. Pure: each function reads a fleet and the time, and returns the change it makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from atoll.errors import Refused
from atoll.reasons import brief
from atoll.types import CheckpointRecord, CheckpointRef, Event, JobState, Keeping
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.setbacks import Cause, set_back
from orchestrator.fleet.state import Change, Fleet, Job


def doubt(job: Job, fleet: Fleet, reason: str) -> Job:
    """The job without its lease, until its checkpoint is verified.

    Raises:
        Refused: it has none.
    """
    if job.checkpoint is None:
        raise Refused(f"{job.spec.name} has no checkpoint that could be damaged")
    words = f"its checkpoint at step {job.step} is being verified: {brief(reason)}"
    freed = fleet.freed(job, words)
    # A finished job is finished no more until its last checkpoint is known to be whole.
    state = JobState.WAITING if freed.state is JobState.DONE else freed.state
    return replace(freed, state=state, doubted=job.checkpoint, ready_at=math.inf)


def is_doubted(fleet: Fleet, name: str, checkpoint: CheckpointRef) -> bool:
    """Whether a job still waits for the verification of a checkpoint."""
    return fleet.jobs[name].doubted == checkpoint


def found_sound(fleet: Fleet, name: str, words: str, now: float) -> Change:
    """A doubted checkpoint is believed again: whoever could not load it had failed.

    Args:
        fleet: as it is.
        name: of the job.
        words: what was found, to follow "the checkpoint at step 40".
        now: on the orchestrator's monotonic clock.
    """
    job = replace(fleet.jobs[name], doubted=None, ready_at=now)
    words = brief(f"the checkpoint at step {job.step} {words}")
    if job.is_complete:
        after = replace(job, state=JobState.DONE, reason=words)
    elif job.state is JobState.WAITING:
        after = set_back(job, Cause.FAILURE, words, fleet, now)
    else:
        after = replace(job, reason=words)
    kind = "job-crash-loop" if after.crash_loop else "checkpoint-sound"
    return Change(jobs=(after,), events=(Event(kind, after.reason, name, epoch=job.epoch),))


def found_damaged(
    fleet: Fleet, name: str, known: Sequence[CheckpointRecord], reason: str, now: float
) -> Change:
    """A doubted checkpoint is lost: the job goes on from the one before, or begins anew.

    This is the one way in which committed steps go back.

    Args:
        fleet: as it is.
        name: of the job.
        known: all its checkpoints, by step.
        reason: what is wrong with this one, in a sentence.
        now: on the orchestrator's monotonic clock.
    """
    job = fleet.jobs[name]
    lost = job.doubted
    assert lost is not None
    kept = [record.ref for record in known if record.keeping is Keeping.KEPT]
    earlier = [ref for ref in kept if ref.step < lost.step]
    before = earlier[-1] if earlier else None
    start = f"from step {before.step} of epoch {before.epoch}" if before else "from the beginning"
    words = f"step {lost.step} is lost, the job goes on {start}: {brief(reason)}"
    step = before.step if before else 0
    after = replace(
        job,
        checkpoint=before,
        doubted=None,
        ready_at=now,
        progress=replace(job.progress, step=step),
        reason=words,
    )
    return Change(
        jobs=(after,),
        checkpoints=(CheckpointRecord(name, lost, Keeping.DAMAGED),),
        events=(Event("checkpoint-damaged", words, name, epoch=lost.epoch),),
    )


def collected(job: str, records: Sequence[CheckpointRecord], freed_bytes: int) -> Change:
    """Files of a job are to be deleted: nothing leads back to them from here on.

    Args:
        job: its name.
        records: checkpoints that are kept no longer; none where islands left nothing but litter.
        freed_bytes: what it frees.
    """
    steps = ", ".join(str(record.ref.step) for record in records)
    what = f"step {steps} is" if len(records) == 1 else f"steps {steps} are"
    what = f"{what} kept no longer" if records else "what islands left unpublished goes"
    words = brief(f"{what}, which frees {freed_bytes:,} bytes")
    gone = tuple(replace(record, keeping=Keeping.COLLECTED) for record in records)
    return Change(checkpoints=gone, events=(Event("checkpoints-collected", words, job),))
