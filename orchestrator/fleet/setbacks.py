"""What sets a job back, and how much of it is forgiven: each cause has a budget of its own.

A job that crashes has something wrong with it; a node that is lost or reclaimed has not. All counts
begin anew with each checkpoint, because work that was saved shows that it can go on.
"""

from __future__ import annotations

import enum

from atoll.types import JobState
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.state import Fleet, Job, Policy

_MAX_BACKOFF_S = 600.0


class Cause(enum.StrEnum):
    """Why a lease ended before its time."""

    FAILURE = "failures"  # the trainer broke
    LOSS = "losses"  # the island fell silent, or its processes died
    PREEMPTION = "preemptions"  # the island was told to leave, and said so


_WORDS = {
    Cause.LOSS: "lost islands",
    Cause.PREEMPTION: "preemptions",
}


def forgiven(job: Job) -> Job:
    """The job with all that set it back forgotten."""
    return replace(job, failures=0, losses=0, preemptions=0, crash_loop=False)


def set_back(job: Job, cause: Cause, reason: str, fleet: Fleet, now: float) -> Job:
    """The job without its lease: waiting for another try, paused for a crash loop, or given up.

    A failure waits from the first time on, since the same is likely to happen again; a lost or
    reclaimed node from the second, since there are others. A trainer that fails time after time,
    and gets no further than before, will go on to: its job waits until somebody has mended it.
    """
    num = getattr(job, cause) + 1
    allowed = {
        Cause.FAILURE: fleet.policy.max_failures,
        Cause.LOSS: fleet.policy.max_losses,
        Cause.PREEMPTION: fleet.policy.max_preemptions,
    }[cause]
    if num > allowed and not job.is_complete:
        if cause is Cause.FAILURE:
            words = f"paused in a crash loop, after {num} failed tries from step {job.step}; the "
            words += f"last: {reason}"
            paused = replace(fleet.freed(job, words), state=JobState.PAUSED, crash_loop=True)
            return replace(paused, failures=num)
        words = f"given up after {num} {_WORDS[cause]}; the last: {reason}"
        return replace(fleet.freed(job, words), state=JobState.FAILED, **{cause: num})
    if cause is Cause.FAILURE:
        reason = f"try {num} of {allowed + 1} failed: {reason}"
    ready_at = now + _pause_s(cause, num, fleet.policy)
    return replace(fleet.freed(job, reason), ready_at=ready_at, **{cause: num})


def paused_again(job: Job, policy: Policy, now: float) -> Job:
    """A waiting job in the eyes of a new orchestrator, which cannot know how much pause is left."""
    pause_s = max(_pause_s(cause, getattr(job, cause), policy) for cause in Cause)
    return replace(job, ready_at=now + pause_s)


def _pause_s(cause: Cause, num: int, policy: Policy) -> float:
    pauses = num - (cause is not Cause.FAILURE)
    return min(policy.backoff_s * 2 ** min(pauses - 1, 32), _MAX_BACKOFF_S) if pauses > 0 else 0.0
