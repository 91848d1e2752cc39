"""What an operator does to single jobs and islands.

Pure: each function reads a fleet and the time, and returns the change it makes.
"""

from __future__ import annotations

from collections.abc import Sequence

from atoll.errors import Refused
from atoll.reasons import brief
from atoll.types import Action, Event, JobState
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.setbacks import forgiven
from orchestrator.fleet.state import TO_BE, Change, Fleet, Job

_OPEN = {JobState.WAITING, JobState.LEASED}
# From which states an action leads on; from others it is refused.
_FROM = {
    Action.PAUSE: _OPEN,
    Action.RESUME: {JobState.PAUSED},
    Action.CANCEL: _OPEN | {JobState.PAUSED, JobState.FAILED},
    Action.RETRY: {JobState.FAILED, JobState.CANCELLED},
}


def steer(fleet: Fleet, action: Action, names: Sequence[str], reason: str, now: float) -> Change:
    """Pause, resume, cancel or retry some jobs.

    A job at work pauses as soon as its trainer has checkpointed, and is cancelled as soon as its
    island has heard of it; both leave the island to the other jobs.

    Args:
        fleet: as it is.
        action: what to do.
        names: to which jobs; none means to all that it can be done to.
        reason: in the operator's words, or "".
        now: on the orchestrator's monotonic clock.

    Raises:
        Refused: there is no such job, or it stands where that cannot be done.
    """
    jobs = [_known(fleet, name) for name in names]
    if not names:
        jobs = [job for job in fleet.jobs.values() if _leads_on(action, job)]
        if not jobs:
            raise Refused(f"no job stands where there is anything to {action}")
    change = Change()
    for job in jobs:
        if not _leads_on(action, job):
            raise Refused(f"{job.spec.name} is {job.state}: there is nothing to {action}")
        after = _steered(job, action, brief(reason) or "asked by an operator", now)
        event = Event(f"job-{action}", after.reason, job.spec.name, job.island, job.epoch)
        change = change.then(Change(jobs=(after,), events=(event,)))
    return change


def drain_island(fleet: Fleet, name: str, reason: str) -> Change:
    """Let one island checkpoint and leave; another takes its place if jobs are left.

    Raises:
        Refused: there is no such island, or it has left.
    """
    island = fleet.islands.get(name)
    if island is None or island.state in {"gone", "lost"}:
        known = [each.name for each in fleet.islands.values() if each.state in {"idle", "working"}]
        there = f"there is {', '.join(known)}" if known else "none is alive"
        raise Refused(f"no island called {name!r} is alive; {there}")
    words = f"{name} is to leave: {brief(reason) or 'asked by an operator'}"
    leaving = replace(island, leaving=True)
    return Change(islands=(leaving,), events=(Event("island-draining", words, island.job, name),))


def let_go(fleet: Fleet, names: Sequence[str]) -> Change:
    """Let islands leave that are still idle, because fewer jobs are open than islands live."""
    islands = (fleet.islands.get(name) for name in names)
    idle = [each for each in islands if each is not None and each.state == "idle"]
    words = "is to leave: fewer jobs are open than islands live"
    return Change(
        islands=tuple(replace(island, leaving=True) for island in idle),
        events=tuple(
            Event("island-draining", f"{island.name} {words}", island=island.name)
            for island in idle
        ),
    )


def _leads_on(action: Action, job: Job) -> bool:
    return job.state in _FROM[action] or (action is Action.RETRY and job.crash_loop)


def _known(fleet: Fleet, name: str) -> Job:
    job = fleet.jobs.get(name)
    if job is None:
        raise Refused(f"no job is called {name!r}; there is {', '.join(fleet.jobs) or 'none'}")
    return job


def _steered(job: Job, action: Action, why: str, now: float) -> Job:
    if action in {Action.RESUME, Action.RETRY}:
        words = f"{'resumed' if action is Action.RESUME else 'to be tried again'}: {why}"
        fresh = forgiven(replace(job, wish=None, ready_at=now))
        return replace(fresh, state=JobState.WAITING, reason=words)
    wish = JobState.PAUSED if action is Action.PAUSE else JobState.CANCELLED
    if job.state is JobState.LEASED:
        return replace(job, wish=wish, reason=f"{TO_BE}{wish} on {job.island}: {why}")
    return replace(job, wish=wish, state=wish, reason=f"{wish}: {why}", crash_loop=False)
