"""What a run's nodes have cost so far: when each was started and had ended, and its price.

Pure: works on values and a time of day. Nodes that joined by themselves are others' bill.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace

from immutables import Map

from atoll.types import Event
from cluster.provider import Node

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class NodeUse:
    """A node that a provider was asked for.

    Attributes:
        island: for which; each is started once.
        started_at: time of day, seconds since the Unix epoch.
        price_per_hour: as the configuration said when it was started; 0 is not counted.
        ended_at: when its end was noticed; None while it runs.
    """

    island: str
    started_at: float
    price_per_hour: float = 0.0
    ended_at: float | None = None

    def hours(self, now: float) -> float:
        """How long it has run, by the clock of a machine that may have been set back."""
        end = now if self.ended_at is None else self.ended_at
        return max(0.0, end - self.started_at) / _HOUR_S

    def cost(self, now: float) -> float:
        """What it has cost, in the unit of its price."""
        return self.hours(now) * self.price_per_hour


@dataclass(frozen=True, slots=True)
class Spent:
    """Node hours, and what they have cost."""

    node_hours: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """All nodes of a run.

    Attributes:
        running: those that have not ended as far as is known, by island.
        ended: what the others have taken.
    """

    running: Map[str, NodeUse] = field(default_factory=Map)
    ended: Spent = Spent()

    def after(self, uses: Iterable[NodeUse]) -> Ledger:
        """With some nodes started, or ended."""
        running, hours, cost = self.running, self.ended.node_hours, self.ended.cost
        for use in uses:
            if use.ended_at is None:
                running = running.set(use.island, use)
                continue
            running = running.delete(use.island) if use.island in running else running
            hours, cost = hours + use.hours(use.ended_at), cost + use.cost(use.ended_at)
        return Ledger(running, Spent(hours, cost))

    def spent(self, now: float) -> Spent:
        """What all of them have taken until a time of day."""
        uses = self.running.values()
        hours = self.ended.node_hours + sum(use.hours(now) for use in uses)
        return Spent(hours, self.ended.cost + sum(use.cost(now) for use in uses))


def started(island: str, price_per_hour: float, now: float) -> tuple[NodeUse, Event]:
    """A node is asked for."""
    price = f", at {price_per_hour:g} an hour" if price_per_hour else ""
    event = Event("island-started", f"its node is asked for{price}", island=island)
    return NodeUse(island, now, price_per_hour), event


def reconciled(
    ledger: Ledger,
    nodes: Iterable[Node],
    heard: Container[str],
    price_per_hour: float,
    now: float,
) -> tuple[tuple[NodeUse, ...], tuple[Event, ...]]:
    """What is different by what the provider sees.

    An orchestrator may have died between a node's start, or end, and the note of it.

    Args:
        ledger: as it was written down.
        nodes: all that the provider knows of.
        heard: islands that still speak: one whose node the provider does not know was started by
            an orchestrator on another machine.
        price_per_hour: of nodes that nobody wrote down.
        now: time of day.

    Returns:
        The nodes that have ended or were found, and what is to be told of each.
    """
    seen = {node.island: node for node in nodes}
    uses, events = [], []
    for name, use in sorted(ledger.running.items()):
        node = seen.get(name)
        if (node is None and name not in heard) or (node is not None and not node.alive):
            uses.append(replace(use, ended_at=now))
            words = f"{node.reason if node else 'its node is gone'}; {_bill(use, now)}"
            events.append(Event("island-stopped", words, island=name))
    for name, node in seen.items():
        if node.alive and name not in ledger.running:
            uses.append(NodeUse(name, now, price_per_hour))
            events.append(Event("island-started", "its node was found at work", island=name))
    return tuple(uses), tuple(events)


def _bill(use: NodeUse, now: float) -> str:
    cost = f", which cost {use.cost(now):.2f}" if use.price_per_hour else ""
    return f"it ran for {use.hours(now):.2f} h{cost}"
