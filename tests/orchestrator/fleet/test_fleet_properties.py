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
    Action,
    Assignment,
    CheckpointRef,
    Ending,
    JobSpec,
    JobState,
    Keeping,
    Lease,
    Outcome,
    Progress,
    Role,
    Submission,
)
from orchestrator.fleet import leases, operations, registry, steering
from orchestrator.fleet.jobs import Jobs
from orchestrator.fleet.retention import Retention, garbage_of
from orchestrator.fleet.state import NO_PROGRESS, Change, Fleet, Job, Policy
from orchestrator.storage.sql_store import SqlStore

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
    return replace(
        job,
        expires_at=0.0,
        ready_at=0.0,
        moved_at=0.0,
        heard=False,
        progress=progress,
        doubted=None,
    )


class FleetMachine(RuleBasedStateMachine):
    """Every call may come at any time, under any lease ever granted."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.num_requests = 0
        self.granted: list[Lease] = []
        self.committed: dict[str, list[CheckpointRef]] = {name: [] for name in NAMES}
        self.store = SqlStore("sqlite://")
        self.last_event = 0
        self.fleet = Fleet(POLICY)
        self.apply(operations.submit(self.fleet, specs(), self.now))

    def apply(self, change: Change) -> None:
        if change.events:
            self.store.save(change, self.last_event + 1, self.now)
            self.last_event += len(change.events)
        self.fleet = self.fleet.after(change)
        for record in change.checkpoints:
            if record.keeping is Keeping.KEPT:
                assert record.ref.step > self.newest(record.job)
                assert record.ref.epoch == self.fleet.jobs[record.job].epoch
                self.committed[record.job].append(record.ref)
            else:
                self.committed[record.job].remove(record.ref)

    def newest(self, name: str) -> int:
        """Step of the newest checkpoint that is neither damaged nor collected."""
        return self.committed[name][-1].step if self.committed[name] else 0

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

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.apply(operations.tick(self.fleet, self.now))
        self.apply(operations.silent(self.fleet, (), self.now))

    @rule()
    def an_operator_drains(self) -> None:
        self.apply(operations.drain(self.fleet, "enough"))

    @rule(action=st.sampled_from(Action), name=st.sampled_from(NAMES))
    def an_operator_steers(self, action: Action, name: str) -> None:
        with contextlib.suppress(Refused):
            self.apply(steering.steer(self.fleet, action, [name], "", self.now))

    @rule(island=ISLANDS)
    def an_operator_lets_an_island_go(self, island: str) -> None:
        with contextlib.suppress(Refused):
            self.apply(steering.drain_island(self.fleet, island, ""))

    @rule(name=st.sampled_from(NAMES))
    def an_operator_doubts_a_finished_job(self, name: str) -> None:
        job = self.fleet.jobs[name]
        doubt = Submission(job.spec, job.epoch, job.checkpoint, damaged=True)
        with contextlib.suppress(Refused):
            self.apply(operations.submit(self.fleet, [doubt], self.now))

    @rule(name=st.sampled_from(NAMES), damaged=st.booleans())
    def a_doubted_checkpoint_is_verified(self, name: str, damaged: bool) -> None:
        job = self.fleet.jobs[name]
        if job.doubted is None:
            return
        assert registry.is_doubted(self.fleet, name, job.doubted)
        if damaged:
            known = self.store.checkpoints(name)
            self.apply(registry.found_damaged(self.fleet, name, known, "gone", self.now))
        else:
            self.apply(registry.found_sound(self.fleet, name, "is whole", self.now))

    @rule(name=st.sampled_from(NAMES), last=st.integers(1, 2))
    def checkpoints_are_collected(self, name: str, last: int) -> None:
        job, known = self.fleet.jobs[name], self.store.checkpoints(name)
        garbage = garbage_of(job, known, {}, set(), Retention(last, 0, 0))
        if garbage.records:
            self.apply(registry.collected(name, garbage.records, 1))

    @rule(steps=st.sampled_from([STEPS // 2, STEPS]))
    def an_operator_submits(self, steps: int) -> None:
        with contextlib.suppress(Refused):
            self.apply(operations.submit(self.fleet, specs(steps), self.now))

    @rule(seconds=st.sampled_from([0.0, 100.0]))
    def the_orchestrator_crashes(self, seconds: float) -> None:
        self.now += seconds
        stored = self.store.load()
        self.fleet = Fleet(POLICY, Jobs().updated(stored.jobs))
        self.apply(operations.restarted(self.fleet, stored.leaving, self.now))

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
        for name, job in self.fleet.jobs.items():
            assert job.checkpoint == (self.committed[name][-1] if self.committed[name] else None)
            kept = [each for each in self.store.checkpoints(name) if each.keeping is Keeping.KEPT]
            assert [each.ref for each in kept] == self.committed[name]

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
        stored = self.store.load()
        jobs = {job.spec.name: job for job in stored.jobs}
        assert jobs == {name: at_rest(job) for name, job in self.fleet.jobs.items()}
        islands = self.fleet.islands.values()
        assert dict(stored.leaving) == {it.name: it.dismissed for it in islands if it.leaving}

    @invariant()
    def islands_at_work_hold_a_lease_and_nobody_else_does(self) -> None:
        working = {it.name: it.job for it in self.fleet.islands.values() if it.state == "working"}
        leased = self.fleet.jobs.leased()
        assert working == {job.island: job.spec.name for job in leased}

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            self.a_healthy_fleet_reaches_done()
            self.store.close()

    def a_healthy_fleet_reaches_done(self) -> None:
        for _ in range(4 * len(NAMES)):
            # Whoever wants the jobs done says so again where one was halted.
            self.apply(operations.submit(self.fleet, specs(), self.now))
            for name in NAMES:
                self.a_doubted_checkpoint_is_verified(name, damaged=False)
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
