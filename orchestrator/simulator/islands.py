"""Islands under the real fleet functions and a virtual clock.

Only what matters is an event: a node comes up, a job ends, a fault begins or ends, the supervisor
has something to see. Between two of them a healthy island sends heartbeats and commits that nobody
looks at. Their sum is told to the fleet at once: one heartbeat, stamped with the time of the last
before the next event, leaves the lease where all of them would have left it; and so does the last
commit before a fault.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from atoll import layout
from atoll.errors import LeaseLost
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
    Wait,
)
from orchestrator import leases, operations, recovery
from orchestrator.fleet import Change, Fleet
from orchestrator.recovery import Plan, Recovery
from orchestrator.simulator.faults import Cause, Fate, Fault, Zones, fate
from orchestrator.simulator.pace import Pace
from orchestrator.simulator.tally import Tally
from orchestrator.simulator.world import World

_POLL_S = 1.0  # an idle agent asks again after so long, says the fleet
_LAST = sys.maxsize


@dataclass(slots=True, eq=False)
class Isle:
    """One island: a node with an agent on it, from being asked for to its end.

    Attributes:
        up_at: its agent's first word; NaN before.
        fault: what befalls it next.
        lease: what it works under.
        leased_at: since when; its heartbeats count from here.
        pace: how its trainer goes on.
        heard_at: when it was last heard by the fleet.
        silent: whether it is cut off.
        idle_since: when it last asked in vain; NaN while it does not wait for work.
        dead: whether the node is gone.
    """

    name: str
    number: int
    fate: Fate
    zone: int | None
    up_at: float = math.nan
    fault: Fault | None = None
    lease: Lease | None = None
    leased_at: float = 0.0
    pace: Pace | None = None
    heard_at: float = 0.0
    silent: bool = False
    idle_since: float = math.nan
    dead: bool = False


class Islands:
    """A run of as many jobs as islands."""

    def __init__(self, world: World, seed: int) -> None:
        """Submit the jobs; nothing has happened yet."""
        self.world = world
        self.tally = Tally()
        self.fleet = Fleet(world.policy)
        self.recovery = Recovery()
        self.isles: dict[str, Isle] = {}  # alive for the provider
        self._seed = seed
        self._zones = Zones(world, seed)
        self._queue: list[tuple[float, int, int, Callable[..., None], Any]] = []
        self._num_queued = 0
        self._unburied: list[Isle] = []
        self._missing: list[str] = []
        self._idle: dict[str, Isle] = {}
        self._looks_at: set[float] = set()
        self._looked_at = -world.look_s
        self._committed_at = -1.0
        specs = [
            JobSpec(layout.expert_job(index), Role.EXPERT, index, "", world.steps, "")
            for index in range(world.num_islands)
        ]
        self.apply(operations.submit(self.fleet, [Submission(spec) for spec in specs], 0.0))

    def run(self) -> Tally:
        """Let time pass until all jobs are over, or the world's end."""
        self.plan_look(0.0)
        self._plan_outage()
        with _no_collector():
            self._close(self._play())
        return self.tally

    def _play(self) -> float:
        now = 0.0
        while not self.fleet.is_over:
            at, _, _, action, argument = heapq.heappop(self._queue)
            if at > self.world.max_s:
                return self.world.max_s
            now = at
            action(argument, now)
        return now

    def at(self, when: float, action: Callable[..., None], argument: Any, number: int = 0) -> None:
        """Do something later; of what comes together the lower island first, looks at last."""
        self._num_queued += 1
        heapq.heappush(self._queue, (round(when, 6), number, self._num_queued, action, argument))

    def apply(self, change: Change) -> None:
        """Believe a change."""
        self.fleet = self.fleet.after(change)

    # --- The supervisor

    def plan_look(self, when: float) -> None:
        """Look at the first chance from a time on."""
        when = max(self.world.noticed_at(when), self._looked_at + self.world.look_s)
        if when not in self._looks_at:
            self._looks_at.add(when)
            self.at(when, self.look, None, _LAST)

    def look(self, _: None, now: float) -> None:
        """As :class:`orchestrator.supervisor.Supervisor` does: tick, bury, recover."""
        self._looks_at.discard(now)
        # The looks between, which changed nothing, are not queued; yet it was not away.
        attentive = replace(self.fleet, ticked_at=now - self.world.look_s)
        self.tick(attentive, now)
        self.bury(now)
        self._forget_young_deaths(now)
        missing, self._missing = self._missing, []
        missing = [name for name in missing if name in self.recovery.since]
        self.recovery, plan = recovery.replaced(
            self.recovery, self.fleet, missing, self.world.recovery, now
        )
        self._looked_at = now
        self.carry_out(plan, now)
        wanted = min(self.world.num_islands, self.fleet.jobs.num_open)
        if len(self.recovery.since) < wanted:
            self.plan_look(max(self.recovery.not_before, now + self.world.look_s))

    def tick(self, fleet: Fleet, now: float) -> None:
        """Time passes for the fleet: the silent lose their leases."""
        change = operations.tick(fleet, now)
        self.fleet = fleet.after(change)
        for event in change.events:
            if event.kind == "island-lost":
                self.tally.recoveries[Cause.CUT] += 1
                self._missing.append(event.island)
        if change.jobs:
            self._wake(now)

    def bury(self, now: float) -> None:
        """The provider tells which nodes are dead."""
        dead, self._unburied = self._unburied, []
        for isle in dead:
            self.isles.pop(isle.name, None)
            self._missing.append(isle.name)
            self.apply(operations.island_gone(self.fleet, isle.name, "its node is gone", now))
        if dead:
            self._wake(now)

    def carry_out(self, plan: Plan, now: float) -> None:
        """Start what recovery wants started."""
        if plan.give_up:
            self.apply(operations.give_up(self.fleet, "no island stays alive"))
        for name in plan.start:
            drawn = fate(self.world, self._seed, name)
            number = int(name.rpartition("-")[2])
            isle = Isle(name, number, drawn, self._zones.place(drawn.draw, now))
            self.isles[name] = isle
            if isle.zone is None:
                self._die(isle, now)  # nowhere to start it
            else:
                self.at(now + self.world.provision_s, self._up, isle, number)

    def _forget_young_deaths(self, now: float) -> None:
        """Any commit since the last look does that, queued or not."""
        if self.recovery.num_young and (
            self._committed_at > self._looked_at
            or any(self._commits_since(isle, now) for isle in self.isles.values())
        ):
            self.recovery = replace(self.recovery, num_young=0)

    def _commits_since(self, isle: Isle, now: float) -> bool:
        if isle.pace is None or now < isle.pace.first_committed_at or isle.silent or isle.dead:
            return False
        num = isle.pace.num_committed(now)
        return num > 0 and isle.pace.committed_at(num) > self._looked_at

    # --- An island

    def _up(self, isle: Isle, now: float) -> None:
        if not isle.dead:
            isle.up_at = now
            self._draw_fault(isle, now)
            self.ask(isle, now)

    def ask(self, isle: Isle, now: float) -> None:
        """Its agent asks for work."""
        if isle.dead or isle.silent or isle.lease:
            return
        self._idle.pop(isle.name, None)
        request = f"{isle.name}@{now}"
        answer, change = leases.acquire(self.fleet, isle.name, request, now)
        self.apply(change)
        if isinstance(answer, Assignment):
            self._begin(isle, answer, now)
        else:
            isle.idle_since = now
            self._idle[isle.name] = isle
            self.wait(isle, answer, now)

    def wait(self, isle: Isle, _: Wait, now: float) -> None:
        """There is nothing for it: its polls are not queued until there is."""
        ready_at = self._ready_at()
        if ready_at is not None:
            self.at(max(ready_at, now + 1e-6), self.ask, isle, isle.number)

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
            self.at(isle.pace.done_at, self._done, isle, isle.number)

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
        self._committed_at = max(self._committed_at, at)

    def _wake(self, now: float) -> None:
        """Of the idle islands, which poll in turn, the first to find a job that is ready asks."""
        ready_at = self._ready_at() if self._idle else None
        if ready_at is not None:
            when, number, isle = min(
                (max(_next_poll(isle, now), ready_at), isle.number, isle)
                for isle in self._idle.values()
            )
            self.at(when, self.ask, isle, number)

    def _ready_at(self) -> float | None:
        return min((job.ready_at for job in self.fleet.jobs.waiting()), default=None)

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
            self._wake(now)

    # --- What befalls it

    def _draw_fault(self, isle: Isle, now: float) -> None:
        isle.fault = isle.fate.next(now)
        if isle.fault.at < math.inf:
            self.at(isle.fault.at, self._strike, isle, isle.number)

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
            self._idle.pop(isle.name, None)
            if isle.lease is not None:
                self.settle(isle, now)
                self.plan_look(isle.heard_at + self.world.policy.term_s)
            self.at(min(fault.until, now + self.world.orphan_s), self._heal, isle, isle.number)

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
        self._idle.pop(isle.name, None)
        if not math.isnan(isle.up_at):
            self.tally.paid_s += now - isle.up_at
        self._unburied.append(isle)
        self.plan_look(now)

    def _plan_outage(self) -> None:
        at, zone = self._zones.next()
        if at < math.inf:
            self.at(at, self._outage, zone)

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


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Frozen values hold no circles: looking for some among all of them is a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _next_poll(isle: Isle, now: float) -> float:
    polls = math.floor(round((now - isle.idle_since) / _POLL_S, 6))
    return isle.idle_since + (polls + 1) * _POLL_S
