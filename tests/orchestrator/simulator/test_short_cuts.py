"""The simulation without its short cuts: every heartbeat, commit, poll and look is an event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from atoll.types import Wait
from cluster.provider import Node
from orchestrator.fleet import recovery, steering
from orchestrator.fleet.state import Fleet
from orchestrator.simulator.agenda import LAST
from orchestrator.simulator.islands import Islands
from orchestrator.simulator.isle import Isle
from orchestrator.simulator.pace import Pace


class NaiveIslands(Islands):
    def plan_look(self, when: float) -> None:
        if when == 0.0:
            self.agenda.add(0.0, self.look, None, LAST)

    def look(self, _: Any, now: float) -> None:
        self.tick(self.fleet, now)
        dead = {isle.name for isle in self.isles.values() if isle.dead}
        nodes = [Node(name, name not in dead) for name in self.isles]
        self.bury(now)
        self.recovery, plan = recovery.look(
            self.recovery, self.fleet, nodes, self.world.recovery, now
        )
        self.carry_out(plan, now)
        self.let_go(plan.dismiss, now)
        self.agenda.add(now + self.world.look_s, self.look, None, LAST)

    def let_go(self, names: Sequence[str], now: float) -> None:
        self.apply(steering.let_go(self.fleet, names))  # who is idle asks by itself

    def wait(self, isle: Isle, answer: Wait, now: float) -> None:
        self.agenda.add(now + answer.retry_after_s, self.ask, isle, isle.number)

    def wake(self, now: float) -> None:
        pass

    def attend(self, isle: Isle, now: float) -> None:
        pace = isle.pace
        self.agenda.add(pace.done_at, self._done, isle, isle.number)
        beats = math.floor(round((now - isle.leased_at) / self.world.beat_s, 6))
        self._queue_beat(isle, pace, beats + 1)
        self._queue_commit(isle, pace, pace.num_committed(now) + 1)

    def _queue_beat(self, isle: Isle, pace: Pace, count: int) -> None:
        when = isle.leased_at + count * self.world.beat_s
        self.agenda.add(when, self._one_beat, (isle, pace, count), isle.number)

    def _one_beat(self, argument: tuple[Isle, Pace, int], now: float) -> None:
        isle, pace, count = argument
        if isle.pace is pace and not isle.dead and not isle.silent:
            self._beat(isle, now)
            self._queue_beat(isle, pace, count + 1)

    def _queue_commit(self, isle: Isle, pace: Pace, num: int) -> None:
        if pace.step(num) < pace.steps:
            self.agenda.add(
                pace.committed_at(num), self._one_commit, (isle, pace, num), isle.number
            )

    def _one_commit(self, argument: tuple[Isle, Pace, int], now: float) -> None:
        isle, pace, num = argument
        if isle.pace is pace and not isle.dead and not isle.silent:
            if pace.step(num) > self.fleet.jobs[isle.lease.job].step:
                self.commit(isle, pace.step(num), now)
            self._queue_commit(isle, pace, num + 1)

    def tick(self, fleet: Fleet, now: float) -> None:
        super().tick(fleet, now)
        self.missing.clear()  # recovery looks for itself


FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "reclaims": {"lifetime_s": 2000.0},
    "crashes": {"crashes_per_day": 80.0},
    "cuts": {"cuts_per_day": 100.0, "cut_s": 15.0},
    "outages": {"num_zones": 2, "outages_per_day": 40.0, "outage_s": 300.0},
    "slow nodes": {"slow_share": 0.5, "lifetime_s": 4000.0},
    "slow uploads": {
        "checkpoint_bytes": 1e9,
        "bandwidth_bytes_per_s": 2.5e6,
        "lifetime_s": 3000.0,
        "cuts_per_day": 40.0,
    },
    "all": {
        "lifetime_s": 4000.0,
        "crashes_per_day": 20.0,
        "cuts_per_day": 40.0,
        "num_zones": 3,
        "outages_per_day": 10.0,
        "slow_share": 0.3,
        "checkpoint_bytes": 1e9,
        "bandwidth_bytes_per_s": 2e7,
    },
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("seed", range(5))
def test_simulation_with_short_cuts_ends_as_the_one_that_sends_every_heartbeat(world, faults, seed):
    quick, naive = Islands(world(**faults), seed), NaiveIslands(world(**faults), seed)
    found, expected = quick.run(), naive.run()
    assert found.recoveries == expected.recoveries
    assert (found.done, found.kept_steps) == (expected.done, expected.kept_steps)
    for name in ("ended_at", "paid_s", "trained_s", "lost_s"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-3), name
    for name, job in naive.fleet.jobs.items():
        assert (quick.fleet.jobs[name].epoch, quick.fleet.jobs[name].state) == (
            job.epoch,
            job.state,
        )
    assert quick.recovery.last_number == naive.recovery.last_number
