"""What befalls nodes and zones, drawn from a seed and their names: equal seeds, equal fates."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.simulator.world import World

_DAY_S = 86400.0


class Cause(enum.StrEnum):
    """Why work was interrupted."""

    RECLAIM = "reclaim"  # the provider took the node back
    OUTAGE = "outage"  # of the node's zone
    CRASH = "crash"  # of the trainer; the node lives on
    CUT = "cut"  # the node could not reach the orchestrator


class Fault(NamedTuple):
    """One misfortune of a node.

    Attributes:
        at: when it comes; infinity if nothing ever does.
        cause: which.
        until: when it is over; only a cut ever is.
    """

    at: float
    cause: Cause
    until: float


@dataclass(slots=True)
class Fate:
    """What a node is like, and what will happen to it, one fault after the other.

    Attributes:
        speed: 1, or that of slow nodes.
        draw: a number in [0, 1) that decides the node's zone.
    """

    world: World
    speed: float
    draw: float
    random: random.Random

    def next(self, after: float) -> Fault:
        """The first fault after a time: reclaims, crashes and cuts are one Poisson process."""
        world = self.world
        reclaims = 1 / world.lifetime_s
        crashes, cuts = world.crashes_per_day / _DAY_S, world.cuts_per_day / _DAY_S
        total = reclaims + crashes + cuts
        if not total:
            return Fault(math.inf, Cause.RECLAIM, math.inf)
        at = round(after + self.random.expovariate(total), 6)
        which = self.random.random() * total
        if which < cuts:
            return Fault(at, Cause.CUT, round(at + self.random.expovariate(1 / world.cut_s), 6))
        return Fault(at, Cause.CRASH if which < cuts + crashes else Cause.RECLAIM, at)


def fate(world: World, seed: int, name: str) -> Fate:
    """That of the node with this name."""
    drawn = random.Random(f"{seed}/{name}")  # noqa: S311 - a simulation
    speed = world.slow_speed if drawn.random() < world.slow_share else 1.0
    return Fate(world, speed, drawn.random(), drawn)


def outages(world: World, seed: int, zone: int) -> Iterator[Fault]:
    """Those of a zone, one after the other."""
    drawn = random.Random(f"{seed}/zone-{zone}")  # noqa: S311 - a simulation
    until = 0.0
    while world.outages_per_day:
        at = round(until + drawn.expovariate(world.outages_per_day / _DAY_S), 6)
        until = round(at + drawn.expovariate(1 / world.outage_s), 6)
        yield Fault(at, Cause.OUTAGE, until)


class Zones:
    """Which zones are up, and which fails next."""

    def __init__(self, world: World, seed: int) -> None:
        """Begin with all of them up."""
        self._coming = [outages(world, seed, zone) for zone in range(world.num_zones)]
        self._down_until = [0.0] * world.num_zones
        self._next = [next(outages, None) for outages in self._coming]

    def next(self) -> tuple[float, int]:
        """When which zone fails next; infinity if none ever does."""
        times = [math.inf if outage is None else outage.at for outage in self._next]
        at = min(times)
        return at, times.index(at)

    def fail(self, zone: int) -> None:
        """The next outage of a zone begins."""
        outage = self._next[zone]
        assert outage is not None
        self._down_until[zone] = outage.until
        self._next[zone] = next(self._coming[zone], None)

    def first_up(self) -> float:
        """Since when, or from when on, a zone is up."""
        return min(self._down_until)

    def place(self, draw: float, now: float) -> int | None:
        """A zone that is up, by a draw in [0, 1); None if all are down."""
        up = [zone for zone, until in enumerate(self._down_until) if until <= now]
        return up[int(draw * len(up))] if up else None
