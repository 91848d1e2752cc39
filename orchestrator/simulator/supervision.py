"""The supervisor's side: looks that find something, and what recovery does about it."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from atoll import layout
from atoll.types import JobSpec, Role, Submission
from orchestrator.fleet import operations, recovery, steering
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.recovery import Plan, Recovery
from orchestrator.fleet.state import Change, Fleet
from orchestrator.simulator.agenda import LAST, Agenda
from orchestrator.simulator.faults import Cause
from orchestrator.simulator.isle import Isle
from orchestrator.simulator.tally import Tally
from orchestrator.simulator.world import World


class Supervision(abc.ABC):
    """A fleet of as many jobs as islands, and the loop that keeps its islands alive."""

    def __init__(self, world: World) -> None:
        """Submit the jobs; nothing has happened yet."""
        self.world = world
        self.tally = Tally()
        self.agenda = Agenda()
        self.fleet = Fleet(world.policy)
        self.recovery = Recovery()
        self.isles: dict[str, Isle] = {}  # not yet buried
        self.idle: dict[str, Isle] = {}  # of them, those that wait for work
        self.unburied: list[Isle] = []
        self.missing: list[str] = []  # since the last look, dead or lost
        self.committed_at = -1.0  # the last commit that was told
        self._looks_at: set[float] = set()
        self._looked_at = -world.look_s
        specs = [
            JobSpec(layout.expert_job(index), Role.EXPERT, index, "", world.steps, "")
            for index in range(world.num_islands)
        ]
        self.apply(operations.submit(self.fleet, [Submission(spec) for spec in specs], 0.0))

    @abc.abstractmethod
    def start(self, name: str, now: float) -> None:
        """Ask for the node of an island."""

    @abc.abstractmethod
    def ask(self, isle: Isle, now: float) -> None:
        """The agent of an island asks for work."""

    def apply(self, change: Change) -> None:
        """Believe a change."""
        self.fleet = self.fleet.after(change)

    def plan_look(self, when: float) -> None:
        """Look at the first chance from a time on."""
        when = max(self.world.noticed_at(when), self._looked_at + self.world.look_s)
        if when not in self._looks_at:
            self._looks_at.add(when)
            self.agenda.add(when, self.look, None, LAST)

    def look(self, _: None, now: float) -> None:
        """As :class:`orchestrator.supervisor.Supervisor` does: tick, bury, recover."""
        self._looks_at.discard(now)
        # The looks between, which changed nothing, are not queued; yet it was not away.
        attentive = replace(self.fleet, ticked_at=now - self.world.look_s)
        self.tick(attentive, now)
        self.bury(now)
        self._forget_young_deaths(now)
        missing, self.missing = self.missing, []
        missing = [name for name in missing if name in self.recovery.since]
        self.recovery, plan = recovery.replaced(
            self.recovery, self.fleet, missing, self.world.recovery, now
        )
        idle = (name for name in self.idle if name in self.recovery.since)
        self.recovery, spare = recovery.spared(
            self.recovery,
            self.fleet,
            recovery.dispensable(self.fleet, idle, ()),
            self.world.recovery,
        )
        self._looked_at = now
        self.carry_out(plan, now)
        self.let_go(spare, now)
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
                self.missing.append(event.island)
        if change.jobs:
            self.wake(now)

    def bury(self, now: float) -> None:
        """The provider tells which nodes are dead."""
        dead, self.unburied = self.unburied, []
        for isle in dead:
            self.isles.pop(isle.name, None)
            self.missing.append(isle.name)
            self.apply(operations.island_gone(self.fleet, isle.name, "its node is gone", now))
        if dead:
            self.wake(now)

    def carry_out(self, plan: Plan, now: float) -> None:
        """Start what recovery wants started."""
        if plan.give_up:
            self.apply(operations.give_up(self.fleet, "no island stays alive"))
        for name in plan.start:
            self.start(name, now)

    def let_go(self, names: Sequence[str], now: float) -> None:
        """Islands may leave, and hear so when they ask next."""
        self.apply(steering.let_go(self.fleet, names))
        for isle in (self.isles[name] for name in names):
            self.agenda.add(isle.next_poll(now), self.ask, isle, isle.number)

    def _forget_young_deaths(self, now: float) -> None:
        """Any commit since the last look does that, queued or not."""
        if self.recovery.num_young and (
            self.committed_at > self._looked_at
            or any(isle.commits_since(self._looked_at, now) for isle in self.isles.values())
        ):
            self.recovery = replace(self.recovery, num_young=0)

    def wake(self, now: float) -> None:
        """Of the idle islands, which poll in turn, the first to find a job that is ready asks."""
        ready_at = self.ready_at() if self.idle else None
        if ready_at is not None:
            when, number, isle = min(
                (max(isle.next_poll(now), ready_at), isle.number, isle)
                for isle in self.idle.values()
            )
            self.agenda.add(when, self.ask, isle, number)

    def ready_at(self) -> float | None:
        """When a job that waits may be granted; None if none waits."""
        return min((job.ready_at for job in self.fleet.jobs.waiting()), default=None)
