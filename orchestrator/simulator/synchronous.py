"""The same nodes under the same faults, training one model in lock step: what islands do without.

All nodes compute every step together, so the slowest sets the pace and every loss stops all. A lost
node is replaced in a zone that is up; when the last replacement is there, all nodes load the last
checkpoint and go on. A cut stalls all; one longer than the lease counts as a loss. All nodes are
paid while they wait.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.simulator.faults import Cause, Fate, Fault, Zones, fate
from orchestrator.simulator.pace import Pace
from orchestrator.simulator.tally import Tally
from orchestrator.simulator.world import World


@dataclass(slots=True, eq=False)
class _Node:
    number: int
    fate: Fate
    fault: Fault
    zone: int
    up_at: float


class Synchronous:
    """A run of one job on all nodes: as many steps, each on as many samples as all islands take."""

    def __init__(self, world: World, seed: int) -> None:
        """Ask for all nodes; their names, and so their fates, are those of islands."""
        self._world = world
        self._seed = seed
        self._zones = Zones(world, seed)
        self._nodes: dict[int, _Node] = {}
        self._faults: list[tuple[float, int]] = []  # when, which node
        self._last_number = 0
        self._num_slow = 0
        self._committed = 0
        self._tally = Tally()
        self._whole_at = 0.0  # when all nodes are there
        for _ in range(world.num_islands):
            self._start(0.0)

    def run(self) -> Tally:
        """Let time pass until all steps are done, or the world's end."""
        pace = self._pace()
        while True:
            while self._faults and self._faults[0][1] not in self._nodes:
                heapq.heappop(self._faults)
            fault_at, number = self._faults[0] if self._faults else (math.inf, 0)
            outage_at, zone = self._zones.next()
            at = min(fault_at, outage_at)
            if min(at, pace.done_at) > self._world.max_s:
                return self._close(pace, self._world.max_s)
            if pace.done_at <= at:
                return self._close(pace, pace.done_at)
            if outage_at < fault_at:
                self._zones.fail(zone)
                hit = [node for node in self._nodes.values() if node.zone == zone]
                pace = self._lost(pace, at, Cause.OUTAGE, hit) if hit else pace
            else:
                heapq.heappop(self._faults)
                pace = self._struck(pace, self._nodes[number], at)

    def _struck(self, pace: Pace, node: _Node, at: float) -> Pace:
        fault, term_s = node.fault, self._world.policy.term_s
        if fault.cause is Cause.RECLAIM:
            return self._lost(pace, at, fault.cause, [node])
        if fault.cause is Cause.CUT and fault.until - at > term_s:
            return self._lost(pace, at, fault.cause, [node], noticed_after_s=term_s)
        self._draw(node, fault.until)
        if fault.cause is Cause.CRASH:
            return self._lost(pace, at, fault.cause, [])
        self._committed = max(self._committed, pace.step(pace.num_committed(at)))
        return replace(pace, begin=pace.begin + fault.until - at)

    def _lost(
        self,
        pace: Pace,
        at: float,
        cause: Cause,
        nodes: Sequence[_Node],
        *,
        noticed_after_s: float = 0.0,
    ) -> Pace:
        """Training stops, and begins again when these nodes are replaced."""
        num, noticed_at = pace.num_committed(at), at + noticed_after_s
        self._tally.stopped(pace, num, at, self._world.num_islands)
        self._tally.recoveries[cause] += 1
        self._committed = max(self._committed, pace.step(num))
        self._whole_at = max(self._whole_at, noticed_at)
        for node in nodes:
            self._tally.paid_s += max(noticed_at - node.up_at, 0.0)
            self._num_slow -= node.fate.speed < 1
            del self._nodes[node.number]
            self._start(self._world.noticed_at(noticed_at))
        return self._pace()

    def _start(self, at: float) -> None:
        self._last_number += 1
        number = self._last_number
        drawn = fate(self._world, self._seed, f"island-{number}")
        at = max(at, self._zones.first_up())
        zone = self._zones.place(drawn.draw, at)
        assert zone is not None
        up_at = at + self._world.provision_s
        node = _Node(number, drawn, drawn.next(up_at), zone, up_at)
        self._nodes[number] = node
        self._num_slow += drawn.speed < 1
        self._whole_at = max(self._whole_at, up_at)
        heapq.heappush(self._faults, (node.fault.at, number))

    def _draw(self, node: _Node, after: float) -> None:
        node.fault = node.fate.next(after)
        heapq.heappush(self._faults, (node.fault.at, node.number))

    def _pace(self) -> Pace:
        world = self._world
        return Pace(
            self._whole_at + world.restart_s(self._committed),
            self._committed,
            world.steps,
            world.checkpoint_every_steps,
            world.step_s / (world.slow_speed if self._num_slow else 1.0),
            world.transfer_s,
        )

    def _close(self, pace: Pace, at: float) -> Tally:
        tally, num_nodes = self._tally, self._world.num_islands
        tally.trained_s += num_nodes * pace.trained_s(at)
        tally.paid_s += sum(max(at - node.up_at, 0.0) for node in self._nodes.values())
        tally.ended_at, tally.done = at, pace.done_at <= at
        committed = max(self._committed, pace.step(pace.num_committed(at)))
        tally.kept_steps = num_nodes * committed
        return tally
