"""What operators, providers and the passing of time do to the fleet.

Pure: each function reads a fleet and the time, and returns the change it makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence

from atoll.errors import Refused
from atoll.reasons import brief
from atoll.types import CheckpointRecord, Event, JobState, Submission
from orchestrator.fleet import registry
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.setbacks import Cause, forgiven, paused_again, set_back
from orchestrator.fleet.state import TO_BE, Change, Fleet, Island, Job, together

_FORGOTTEN_S = 600.0  # silence after which an island that was lost is no longer listed as such


def submit(fleet: Fleet, jobs: Sequence[Submission], now: float) -> Change:
    """Add jobs; extend those that are there; reopen failed and paused ones. Ends a drain.

    Where the run's store holds newer epochs than are known here, its word counts. A job without a
    checkpoint may still change its settings; whoever works on it loses the lease.

    Raises:
        Refused: a job was begun with other settings, or is further than it is asked to go.
    """
    ended = (Event("drain-ended", "jobs were submitted"),) if fleet.draining else ()
    made = [Change(draining=False, events=ended)]
    fleet = fleet.after(made[0])
    for submission in jobs:
        for step in (_added, _caught_up, _resubmitted, _doubted):
            made.append(step(fleet, submission, now))
            fleet = fleet.after(made[-1])
    return together(made)


def drain(fleet: Fleet, reason: str) -> Change:
    """Let every island checkpoint and leave; jobs pause until they are submitted again."""
    if fleet.draining:
        return Change()
    why = brief(reason) or "asked by an operator"
    paused = tuple(
        replace(job, state=JobState.PAUSED, reason=f"paused while it waited: {why}")
        for job in fleet.jobs.waiting()
    )
    held = tuple(Event("job-paused", job.reason, job.spec.name) for job in paused)
    # What is at work is told by a wish of its own, which outlives this orchestrator.
    pausing = tuple(
        replace(job, wish=JobState.PAUSED, reason=f"{TO_BE}paused on {job.island}: {why}")
        for job in fleet.jobs.leased()
        if job.wish is None
    )
    events = (Event("draining", why), *held)
    return Change(jobs=paused + pausing, draining=True, events=events)


def tick(fleet: Fleet, now: float) -> Change:
    """Take leases from islands that were silent for a term.

    If the orchestrator itself was away (stopped, starved, its disk hung), silence proves nothing:
    a lease gets a full term again. An orchestrator that is always away for a moment still counts:
    who was silent for a term before it went away gets no more.
    """
    term_s = fleet.policy.term_s
    passed = Change(ticked_at=now)
    away_s = 0.0 if fleet.ticked_at is None else now - fleet.ticked_at
    if away_s > term_s / 2:
        spared = [
            job
            for job in fleet.jobs.leased()
            if fleet.islands[job.island].heard_at + term_s >= now - away_s
        ]
        passed = passed.then(_grace(fleet, spared, now, f"was away for {away_s:.1f} s"))
        idle = (island for island in fleet.islands.values() if island.state == "idle")
        rested = tuple(
            replace(island, heard_at=now)
            for island in idle
            if island.heard_at + term_s >= now - away_s
        )
        passed = passed.then(Change(islands=rested))
        fleet = fleet.after(passed)
    for job in fleet.jobs.expired(now):
        if job.island in fleet.gangs:  # of its nodes some are heard, but not who leads
            words = f"the leader of {job.island} was silent for {term_s:g} s"
            passed = passed.then(leader_lost(fleet, job, words, now))
        else:
            words = f"{job.island} was silent for {term_s:g} s"
            passed = passed.then(_taken(job, fleet, words, "lost", now))
    return passed


def leader_lost(fleet: Fleet, job: Job, words: str, now: float) -> Change:
    """The node that held a job's lease is lost; its island goes on with the others."""
    taken = _taken(job, fleet, words, "idle", now)
    return taken._replace(islands=tuple(replace(it, heard_at=now) for it in taken.islands))


def silent(fleet: Fleet, running: Container[str], now: float) -> Change:
    """Count nobody in who has no job and says nothing any more; forget who was lost long ago.

    Whoever is counted in, and frozen, would keep another island from being started for the jobs
    that wait. Not to be asked before :func:`tick`, which knows when silence proves nothing.

    Args:
        fleet: as it is.
        running: islands whose nodes live, says their provider: a frozen one stays lost, or it would
            be taken for one that has yet to say its first word.
        now: on the orchestrator's monotonic clock.
    """
    changes = []
    for island in fleet.islands.values():
        silent_s = now - island.heard_at
        if island.state == "idle" and silent_s > fleet.policy.term_s:
            words = f"{island.name} was silent for {fleet.policy.term_s:g} s, without a job"
            event = Event("island-lost", words, island=island.name)
            changes.append(Change(islands=(replace(island, state="lost"),), events=(event,)))
        elif island.state == "lost" and silent_s > _FORGOTTEN_S and island.name not in running:
            words = f"{island.name} was not heard of for {_FORGOTTEN_S / 60:g} min"
            event = Event("island-gone", words, island=island.name)
            changes.append(Change(islands=(replace(island, state="gone"),), events=(event,)))
    return together(changes) if changes else Change()


def restarted(fleet: Fleet, leaving: Sequence[tuple[str, str]], now: float) -> Change:
    """Begin to serve: islands that hold a lease get a full term to be heard.

    Args:
        fleet: as it was stored.
        leaving: islands that are to leave; with the request that was answered so, or "".
        now: on the orchestrator's monotonic clock.
    """
    held = {job.island: job.spec.name for job in fleet.jobs.leased()}
    known = Change(
        jobs=tuple(
            paused_again(job, fleet.policy, now)
            for job in fleet.jobs.waiting()
            if job.failures or job.losses or job.preemptions
        ),
        islands=tuple(
            Island(name, now, _stands(name, dismissed, held), held.get(name, ""), True, dismissed)
            for name, dismissed in leaving
        ),
        draining=False,
    )
    grace = _grace(fleet.after(known), fleet.jobs.leased(), now, "serves")
    return known.then(grace)._replace(ticked_at=now)


def island_gone(fleet: Fleet, name: str, reason: str, now: float) -> Change:
    """An island's processes are dead, says its provider; its job need not wait for the lease."""
    island = fleet.islands.get(name)
    if island is None or island.state == "gone":
        return Change()
    held = fleet.held_by(name)
    words = brief(f"{name} is gone: {reason}")
    if held:
        return _taken(held, fleet, words, "gone", now)
    return Change(islands=(_gone(island),), events=(Event("island-gone", words, island=name),))


def give_up(fleet: Fleet, reason: str) -> Change:
    """No island can be kept alive: every job that is not over has failed."""
    reason = brief(reason)
    jobs = [
        replace(fleet.freed(job, reason), state=JobState.FAILED)
        for job in fleet.jobs.values()
        if not job.is_over
    ]
    events = tuple(Event("job-failed", reason, job.spec.name) for job in jobs)
    idle = [_without_a_job(fleet, job) for job in fleet.jobs.leased()]
    return Change(jobs=tuple(jobs), islands=tuple(itertools.chain(*idle)), events=events)


def _added(fleet: Fleet, submission: Submission, _: float) -> Change:
    spec = submission.spec
    if spec.name in fleet.jobs:
        return Change()
    job = Job(spec, reason="submitted")
    return Change(jobs=(job,), events=(Event("job-submitted", f"{spec.steps} steps", spec.name),))


def _caught_up(fleet: Fleet, submission: Submission, now: float) -> Change:
    """The database was lost, or is an old one: go on above all that was written without it."""
    job, found = fleet.jobs[submission.spec.name], submission.checkpoint
    if submission.epoch <= job.epoch:
        return Change()
    newer = found if found and found.step > job.step else None
    epoch = submission.epoch
    checkpoint = newer or job.checkpoint
    job = replace(job, epoch=epoch, foreign_epoch=epoch, checkpoint=checkpoint, doubted=None)
    words = f"the run's store holds epoch {job.epoch}, unknown here; goes on from step {job.step}"
    return Change(
        jobs=(replace(fleet.freed(job, words), ready_at=now),),
        islands=_without_a_job(fleet, job),
        checkpoints=(CheckpointRecord(job.spec.name, newer),) if newer else (),
        events=(Event("job-recovered", words, job.spec.name, epoch=job.epoch),),
    )


def _resubmitted(fleet: Fleet, submission: Submission, now: float) -> Change:
    spec = submission.spec
    job = fleet.jobs[spec.name]
    if job.spec.digest != spec.digest and job.checkpoint:
        raise Refused(
            f"{spec.name} was begun with other settings; give new settings a run.uri of their own, "
            "or set them back"
        )
    if spec.steps < job.step:
        raise Refused(
            f"{spec.name} has {job.step} committed steps already and is asked for {spec.steps}; "
            "raise training.steps (router.steps for the router) to that, or give the run another "
            "run.uri"
        )
    if job.state is JobState.LEASED and spec.steps < job.spec.steps:
        raise Refused(
            f"{spec.name} is on its way to step {job.spec.steps} on {job.island}; stop the run "
            f"first (Ctrl-C), then ask for {spec.steps}"
        )
    after = replace(job, spec=spec)
    halted = {JobState.FAILED, JobState.PAUSED, JobState.CANCELLED}
    if job.state in halted or job.spec.digest != spec.digest:
        after = replace(after, wish=None)
        words = f"submitted again; it was {job.state}: {job.reason}"
        after = forgiven(replace(fleet.freed(after, words), ready_at=now))
        event = Event("job-reopened", words, spec.name)
        return Change(jobs=(after,), islands=_without_a_job(fleet, job), events=(event,))
    if job.wish and job.state is JobState.LEASED:
        after = replace(after, wish=None)
        words = f"submitted again before it was {job.wish}"
        return Change(jobs=(after,), events=(Event("job-reopened", words, spec.name),))
    if job.spec == spec:
        return Change()
    if spec.steps == job.spec.steps:
        words = f"lies at {spec.run_uri} now"
        return Change(jobs=(after,), events=(Event("job-moved", words, spec.name),))
    words = f"{spec.steps} steps instead of {job.spec.steps}"
    if job.state is not JobState.LEASED:
        after = replace(fleet.freed(after, words), ready_at=now)
    return Change(jobs=(after,), events=(Event("job-extended", words, spec.name),))


def _doubted(fleet: Fleet, submission: Submission, _: float) -> Change:
    """A finished job's checkpoint was found damaged: it is verified, and made again if it is so."""
    job = fleet.jobs[submission.spec.name]
    if not submission.damaged or job.checkpoint != submission.checkpoint or not job.is_complete:
        return Change()
    doubted = registry.doubt(job, fleet, "found damaged once its job was done")
    event = Event("checkpoint-doubted", doubted.reason, job.spec.name, epoch=job.epoch)
    return Change(jobs=(doubted,), islands=_without_a_job(fleet, job), events=(event,))


def _taken(job: Job, fleet: Fleet, words: str, state: str, now: float) -> Change:
    """The job without its island, which is ``lost`` or ``gone``, or ``idle`` without its leader."""
    island = fleet.islands.get(job.island, Island(job.island, now))
    # One that was to leave anyway has only left early.
    taken = (
        fleet.freed(job, words) if fleet.draining else set_back(job, Cause.LOSS, words, fleet, now)
    )
    kind = "leader-lost" if state == "idle" else f"island-{state}"
    lost = Event(kind, words, job.spec.name, job.island, job.epoch)
    given_up = Event("job-failed", taken.reason, job.spec.name, job.island, job.epoch)
    return Change(
        jobs=(taken,),
        islands=(_gone(island) if state == "gone" else replace(island, state=state, job=""),),
        events=(lost, given_up) if taken.state is JobState.FAILED else (lost,),
    )


def _without_a_job(fleet: Fleet, job: Job) -> tuple[Island, ...]:
    """The island, if any, that loses a job's lease without having done anything for it."""
    if job.state is not JobState.LEASED:
        return ()
    return (replace(fleet.islands[job.island], state="idle", job=""),)


def _stands(island: str, dismissed: str, held: Container[str]) -> str:
    if island in held:
        return "working"
    return "gone" if dismissed else "idle"


def _gone(island: Island) -> Island:
    """Whoever comes back under its name begins anew."""
    return replace(island, state="gone", job="", leaving=False)


def _grace(fleet: Fleet, jobs: Sequence[Job], now: float, what: str) -> Change:
    """A full term for some leases; islands that nobody knows yet count as heard now."""
    term_s = fleet.policy.term_s
    if not jobs and fleet.ticked_at is not None:
        return Change()  # away, and nobody was there to miss it
    words = f"the orchestrator {what}; {len(jobs)} leases get a full term of {term_s:g} s"
    return Change(
        jobs=tuple(replace(job, expires_at=now + term_s, moved_at=now, heard=True) for job in jobs),
        islands=tuple(
            Island(job.island, now, "working", job.spec.name)
            for job in jobs
            if job.island not in fleet.islands
        ),
        events=(Event("orchestrator-serves", words),),
    )
