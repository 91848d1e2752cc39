"""Whatever islands, operators and clocks do: one live epoch, no lost commit, always an end."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from atoll import layout
from atoll.errors import LeaseLost, Refused
from atoll.types import (
    Assignment,
    CheckpointRef,
    Ending,
    JobSpec,
    JobState,
    Lease,
    Outcome,
    Progress,
    Role,
    Submission,
)
from orchestrator import leases, operations
from orchestrator.fleet import NO_PROGRESS, Change, Fleet, Job, Policy
from orchestrator.jobs import Jobs
from orchestrator.sql_store import SqlStore

POLICY = Policy(
    term_s=10.0, max_failures=2, backoff_s=1.0, max_losses=3, max_preemptions=2, stuck_s=5.0
)
STEPS = 40
NAMES = ("expert-0", "expert-1", "router")
ISLANDS = st.sampled_from(["island-1", "island-2", "island-3"])


def specs(steps: int = STEPS) -> list[Submission]:
    return [Submission(JobSpec(name, Role.EXPERT, 0, "runs/test", steps, "d")) for name in NAMES]


def at_rest(job: Job) -> Job:
    """What must survive a crash."""
    progress = replace(NO_PROGRESS, step=job.step)
    return replace(job, expires_at=0.0, ready_at=0.0, moved_at=0.0, progress=progress)


class FleetMachine(RuleBasedStateMachine):
    """Every call may come at any time, under any lease ever granted."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.num_requests = 0
        self.granted: list[Lease] = []
        self.ever_committed = dict.fromkeys(NAMES, 0)
        self.store = SqlStore("sqlite://")
        self.last_event = 0
        self.fleet = Fleet(POLICY)
        self.apply(operations.submit(self.fleet, specs(), self.now))

    def apply(self, change: Change) -> None:
        if change.events:
            self.store.save(change, self.last_event + 1, self.now)
            self.last_event += len(change.events)
        self.fleet = self.fleet.after(change)
        for name, checkpoint in change.commits:
            assert checkpoint.step > self.ever_committed[name]
            assert checkpoint.epoch == self.fleet.jobs[name].epoch
            self.ever_committed[name] = checkpoint.step

    def request(self) -> str:
        self.num_requests += 1
        return str(self.num_requests)

    def acquire(self, island: str) -> Lease | None:
        answer, change = leases.acquire(self.fleet, island, self.request(), self.now)
        self.apply(change)
        if not isinstance(answer, Assignment):
            return None
        assert answer.lease.epoch > max(
            (old.epoch for old in self.granted if old.job == answer.lease.job), default=0
        )
        self.granted.append(answer.lease)
        return answer.lease

    def any_lease(self, data: st.DataObject) -> Lease | None:
        return data.draw(st.sampled_from(self.granted)) if self.granted else None

    def commit_at(self, lease: Lease, step: int) -> None:
        key = layout.checkpoint_folder(lease.job, lease.epoch, step)
        checkpoint = CheckpointRef(key, key, step, lease.epoch)
        self.apply(leases.commit(self.fleet, lease, checkpoint, self.now))

    def release_as(self, lease: Lease, ending: Ending) -> None:
        outcome = Outcome(ending, "as the test wills")
        self.apply(leases.release(self.fleet, lease, outcome, self.request(), self.now))

    @rule(island=ISLANDS)
    def an_island_asks_for_work(self, island: str) -> None:
        self.acquire(island)

    @rule(data=st.data(), step=st.integers(0, STEPS))
    def an_island_beats(self, data: st.DataObject, step: int) -> None:
        lease = self.any_lease(data)
        if lease:
            with contextlib.suppress(LeaseLost):
                progress = Progress(step, 0.0, 0.0)
                self.apply(leases.heartbeat(self.fleet, lease, progress, self.now)[1])

    @rule(data=st.data(), step=st.integers(1, STEPS))
    def an_island_commits(self, data: st.DataObject, step: int) -> None:
        lease = self.any_lease(data)
        if lease:
            with contextlib.suppress(LeaseLost, Refused):
                self.commit_at(lease, step)

    @rule(data=st.data(), ending=st.sampled_from(Ending))
    def an_island_releases(self, data: st.DataObject, ending: Ending) -> None:
        lease = self.any_lease(data)
        if lease:
            with contextlib.suppress(LeaseLost, Refused):
                self.release_as(lease, ending)

    @rule(island=ISLANDS)
    def an_island_dies(self, island: str) -> None:
        self.apply(operations.island_gone(self.fleet, island, "killed", self.now))

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.apply(operations.tick(self.fleet, self.now))

    @rule()
    def an_operator_drains(self) -> None:
        self.apply(operations.drain(self.fleet, "enough"))

    @rule(steps=st.sampled_from([STEPS // 2, STEPS]))
    def an_operator_submits(self, steps: int) -> None:
        with contextlib.suppress(Refused):
            self.apply(operations.submit(self.fleet, specs(steps), self.now))

    @rule(seconds=st.sampled_from([0.0, 100.0]))
    def the_orchestrator_crashes(self, seconds: float) -> None:
        self.now += seconds
        jobs = self.store.load().jobs
        self.fleet = Fleet(POLICY, Jobs().updated(jobs))
        self.apply(operations.restarted(self.fleet, self.now))

    @invariant()
    def at_most_one_epoch_of_a_job_is_alive(self) -> None:
        for name in NAMES:
            alive = [lease for lease in self.granted if lease.job == name and self.accepts(lease)]
            assert len(alive) <= 1

    def accepts(self, lease: Lease) -> bool:
        try:
            leases.heartbeat(self.fleet, lease, NO_PROGRESS, self.now)
        except LeaseLost:
            return False
        return True

    @invariant()
    def nothing_committed_is_lost(self) -> None:
        assert {name: job.step for name, job in self.fleet.jobs.items()} == self.ever_committed

    @invariant()
    def what_is_kept_about_the_jobs_is_what_they_say(self) -> None:
        jobs = self.fleet.jobs
        for state, kept in ((JobState.WAITING, jobs.waiting()), (JobState.LEASED, jobs.leased())):
            assert list(kept) == [job for job in jobs.values() if job.state is state]
        assert jobs.num_leased == len(jobs.leased())
        assert jobs.num_open == sum(not job.is_over for job in jobs.values())
        assert jobs.committed == sum(job.step for job in jobs.values())
        for now in (self.now, self.now + 5.0, self.now + 20.0):
            assert jobs.expired(now) == [job for job in jobs.leased() if job.expires_at <= now]

    @invariant()
    def the_store_knows_what_the_fleet_knows(self) -> None:
        stored = {job.spec.name: job for job in self.store.load().jobs}
        assert stored == {name: at_rest(job) for name, job in self.fleet.jobs.items()}

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            self.a_healthy_fleet_reaches_done()
            self.store.close()

    def a_healthy_fleet_reaches_done(self) -> None:
        self.apply(operations.submit(self.fleet, specs(), self.now))
        for _ in range(4 * len(NAMES)):
            self.now += 4.0
            self.apply(operations.tick(self.fleet, self.now))
            lease = self.acquire("healthy")
            if lease:
                if self.fleet.jobs[lease.job].step < STEPS:
                    self.commit_at(lease, STEPS)
                self.release_as(lease, Ending.FINISHED)
        assert {job.state for job in self.fleet.jobs.values()} == {JobState.DONE}


FleetMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestFleet = FleetMachine.TestCase
