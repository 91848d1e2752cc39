"""Islands under the real fleet functions and a virtual clock.

Only what matters is an event: a node comes up, a job ends, a fault begins or ends, the supervisor
has something to see. Between two of them a healthy island sends heartbeats and commits that nobody
looks at. Their sum is told to the fleet at once: one heartbeat, stamped with the time of the last
before the next event, leaves the lease where all of them would have left it; and so does the last
commit before a fault.
"""

from __future__ import annotations

import math

from atoll import layout
from atoll.errors import LeaseLost
from atoll.types import Assignment, CheckpointRef, Ending, JobState, Outcome, Progress, Wait
from orchestrator.fleet import leases
from orchestrator.simulator.faults import Cause, Zones, fate
from orchestrator.simulator.isle import Isle
from orchestrator.simulator.pace import Pace
from orchestrator.simulator.supervision import Supervision
from orchestrator.simulator.tally import Tally
from orchestrator.simulator.world import World


class Islands(Supervision):
    """A run of as many jobs as islands."""

    def __init__(self, world: World, seed: int) -> None:
        """Submit the jobs; nothing has happened yet."""
        super().__init__(world)
        self._seed = seed
        self._zones = Zones(world, seed)

    def run(self) -> Tally:
        """Let time pass until all jobs are over, or the world's end."""
        self.plan_look(0.0)
        self._plan_outage()
        self._close(self.agenda.play(lambda: self.fleet.is_over, self.world.max_s))
        return self.tally

    def start(self, name: str, now: float) -> None:
        """See :class:`Supervision`; where all zones are down there is nowhere to start it."""
        drawn, number = fate(self.world, self._seed, name), int(name.rpartition("-")[2])
        isle = Isle(name, number, drawn, self._zones.place(drawn.draw, now))
        self.isles[name] = isle
        if isle.zone is None:
            self._die(isle, now)
        else:
            self.agenda.add(now + self.world.provision_s, self._up, isle, number)

    def _up(self, isle: Isle, now: float) -> None:
        if not isle.dead:
            isle.up_at = now
            self._draw_fault(isle, now)
            self.ask(isle, now)

    def ask(self, isle: Isle, now: float) -> None:
        """Its agent asks for work."""
        if isle.dead or isle.silent or isle.lease:
            return
        self.idle.pop(isle.name, None)
        request = f"{isle.name}@{now}"
        answer, change = leases.acquire(self.fleet, isle.name, request, now)
        self.apply(change)
        if isinstance(answer, Assignment):
            self._begin(isle, answer, now)
        elif answer.dismissed:
            self._die(isle, now)
        else:
            isle.idle_since = now
            self.idle[isle.name] = isle
            self.wait(isle, answer, now)
            self.plan_look(now)  # it may be one too many

    def wait(self, isle: Isle, _: Wait, now: float) -> None:
        """There is nothing for it: its polls are not queued until there is."""
        ready_at = self.ready_at()
        if ready_at is not None:
            self.agenda.add(max(ready_at, now + 1e-6), self.ask, isle, isle.number)

    def attend(self, isle: Isle, now: float) -> None:
        """Until its next event it will be heard of: told to the fleet beforehand, at once."""
        assert isle.pace is not None
        assert isle.fault is not None
        until = min(isle.pace.done_at, isle.fault.at)
        beats = math.floor(round((until - isle.leased_at) / self.world.beat_s, 6))
        last = round(isle.leased_at + beats * self.world.beat_s, 6)
        if last > now:
            self._beat(isle, last)
        if isle.pace.done_at <= isle.fault.at:
            self.agenda.add(isle.pace.done_at, self._done, isle, isle.number)

    def settle(self, isle: Isle, now: float, *, late: bool = False) -> int:
        """Commit the newest checkpoint it has uploaded, as of when it was, or, ``late``, as of now.

        Returns:
            How many checkpoints it has uploaded.
        """
        assert isle.pace is not None
        assert isle.lease is not None
        num = isle.pace.num_committed(now)
        at = now if late else isle.pace.committed_at(num)
        if num and isle.pace.step(num) > self.fleet.jobs[isle.lease.job].step:
            self.commit(isle, isle.pace.step(num), at)
        return num

    def commit(self, isle: Isle, step: int, at: float) -> None:
        """Publish a checkpoint of an island at a time."""
        lease = isle.lease
        assert lease is not None
        # Heartbeats after it are told already: the lease ends where the last word leaves it.
        isle.heard_at = max(isle.heard_at, at)
        key = layout.checkpoint_folder(lease.job, lease.epoch, step)
        checkpoint = CheckpointRef(key, "", step, lease.epoch)
        self.apply(leases.commit(self.fleet, lease, checkpoint, isle.heard_at))
        self.committed_at = max(self.committed_at, at)

    def _begin(self, isle: Isle, assignment: Assignment, now: float) -> None:
        world, job = self.world, self.fleet.jobs[assignment.lease.job]
        isle.lease, isle.leased_at, isle.idle_since = assignment.lease, now, math.nan
        isle.heard_at = now
        isle.pace = Pace(
            now + world.restart_s(job.step),
            job.step,
            world.steps,
            world.checkpoint_every_steps,
            world.step_s / isle.fate.speed,
            world.transfer_s,
        )
        self.attend(isle, now)

    def _beat(self, isle: Isle, at: float) -> None:
        assert isle.lease is not None
        progress = Progress(self.fleet.jobs[isle.lease.job].step, math.nan, 0.0)
        _, change = leases.heartbeat(self.fleet, isle.lease, progress, at)
        self.apply(change)
        isle.heard_at = at

    def _done(self, isle: Isle, now: float) -> None:
        if isle.dead or isle.silent or isle.pace is None or now < isle.pace.done_at:
            return  # a fault came at the same moment
        self._stop(isle, now, self.settle(isle, now), Ending.FINISHED)
        self.ask(isle, now)

    def _stop(self, isle: Isle, now: float, num_committed: int, ending: Ending | None) -> None:
        """Its trainer ends; with an ending, its agent gives the lease back."""
        assert isle.pace is not None
        assert isle.lease is not None
        self.tally.stopped(isle.pace, num_committed, now)
        if ending is not None:
            outcome = Outcome(ending, "as the simulation wills")
            request = f"{isle.name}@{now}"
            self.apply(leases.release(self.fleet, isle.lease, outcome, request, now))
        isle.pace = isle.lease = None
        if ending is not None:
            self.wake(now)

    # --- What befalls it

    def _draw_fault(self, isle: Isle, now: float) -> None:
        isle.fault = isle.fate.next(now)
        if isle.fault.at < math.inf:
            self.agenda.add(isle.fault.at, self._strike, isle, isle.number)

    def _strike(self, isle: Isle, now: float) -> None:
        fault = isle.fault
        if isle.dead or fault is None:
            return
        if fault.cause is Cause.RECLAIM:
            self._lose(isle, now, Cause.RECLAIM)
        elif fault.cause is Cause.CRASH:
            self._draw_fault(isle, now)
            if isle.pace is not None:
                self.tally.recoveries[Cause.CRASH] += 1
                self._stop(isle, now, self.settle(isle, now), Ending.FAILED)
                self.ask(isle, now)
        else:
            isle.silent = True
            self.idle.pop(isle.name, None)
            if isle.lease is not None:
                self.settle(isle, now)
                self.plan_look(isle.heard_at + self.world.policy.term_s)
            self.agenda.add(
                min(fault.until, now + self.world.orphan_s), self._heal, isle, isle.number
            )

    def _heal(self, isle: Isle, now: float) -> None:
        if isle.dead:
            return
        fault = isle.fault
        assert fault is not None
        if now < fault.until:  # too long: it has stopped itself
            self._lose(isle, now, Cause.CUT)
            return
        if isle.lease is not None:
            try:
                self._beat(isle, now)
            except LeaseLost:
                self._lose(isle, now, Cause.CUT)
                return
        isle.silent = False
        self._draw_fault(isle, now)
        if isle.pace is None:
            self.ask(isle, now)
            return
        num = self.settle(isle, now, late=True)
        if isle.pace.done_at <= now:
            self._stop(isle, now, num, Ending.FINISHED)
            self.ask(isle, now)
        else:
            self.attend(isle, now)

    def _lose(self, isle: Isle, now: float, cause: Cause) -> None:
        """The island ends, and with it what its trainer did since the last commit."""
        if isle.lease is not None and isle.pace is not None:
            if self.fleet.held_by(isle.name):
                self.tally.recoveries[cause] += 1
            self._stop(isle, now, self._published(isle, now), None)
        self._die(isle, now)

    def _published(self, isle: Isle, now: float) -> int:
        """How many checkpoints of its lease ever are: none that was uploaded in a cut."""
        assert isle.pace is not None
        assert isle.fault is not None
        return isle.pace.num_committed(isle.fault.at) if isle.silent else self.settle(isle, now)

    def _die(self, isle: Isle, now: float) -> None:
        isle.dead = True
        self.idle.pop(isle.name, None)
        if not math.isnan(isle.up_at):
            self.tally.paid_s += now - isle.up_at
        self.unburied.append(isle)
        self.plan_look(now)

    def _plan_outage(self) -> None:
        at, zone = self._zones.next()
        if at < math.inf:
            self.agenda.add(at, self._outage, zone, 0)

    def _outage(self, zone: int, now: float) -> None:
        self._zones.fail(zone)
        for isle in [isle for isle in self.isles.values() if isle.zone == zone and not isle.dead]:
            self._lose(isle, now, Cause.OUTAGE)
        self._plan_outage()

    def _close(self, now: float) -> None:
        """The books at the end: every node is paid until now, every upload counts."""
        for isle in self.isles.values():
            if isle.pace is not None and not isle.dead:
                num = self._published(isle, now)
                is_held = self.fleet.held_by(isle.name) is not None
                kept_s = isle.pace.trained_s(now) if is_held else isle.pace.kept_s(num)
                self.tally.trained_s += isle.pace.trained_s(now)
                self.tally.lost_s += isle.pace.trained_s(now) - kept_s
            if not isle.dead and not math.isnan(isle.up_at):
                self.tally.paid_s += now - isle.up_at
        jobs = self.fleet.jobs.values()
        self.tally.ended_at = now
        self.tally.done = all(job.state is JobState.DONE for job in jobs)
        self.tally.kept_steps = self.fleet.jobs.committed
