"""What a run's nodes have cost so far: when each was started and had ended, and its price.

Pure: works on values and a time of day. Nodes that joined by themselves are others' bill, and one
that stands in a queue, or is being made, is nobody's yet. Those of an island are noted together.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from immutables import Map

from atoll.types import Event
from cluster.provider import Node

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What an hour of a node costs.

    Attributes:
        by_provider: as the configuration says, by the provider's name; 0 is not counted.
        num_nodes: of an island, as they are asked for.
    """

    by_provider: Mapping[str, float] = field(default_factory=dict)
    num_nodes: int = 1

    @property
    def highest(self) -> float:
        """Of a node whose provider is not known yet."""
        return max(self.by_provider.values(), default=0.0)

    def of(self, node: Node) -> float:
        """Of a node that is there."""
        return self.by_provider.get(node.provider, self.highest)


@dataclass(frozen=True, slots=True)
class NodeUse:
    """A node that a provider was asked for, or all nodes of an island of several.

    Attributes:
        island: for which; each is started once.
        started_at: when it was asked for; time of day, seconds since the Unix epoch.
        price_per_hour: what each costs; 0 is not counted.
        paid_from: when it was seen to be there, or their number to change; None while it stands in
            a queue, or is being made.
        ended_at: when its end was noticed; None until then.
        num_nodes: how many were asked for.
        num_missing: how many of them were lost, and are to be started again.
        hours_before: what they had taken until ``paid_from``, all together.
    """

    island: str
    started_at: float
    price_per_hour: float = 0.0
    paid_from: float | None = None
    ended_at: float | None = None
    num_nodes: int = 1
    num_missing: int = 0
    hours_before: float = 0.0

    @property
    def num_there(self) -> int:
        """How many are there, and paid for: one at least, of an island that lives."""
        return max(1, self.num_nodes - self.num_missing)

    def hours(self, now: float) -> float:
        """Node hours that were taken, by the clock of a machine that may have been set back."""
        if self.paid_from is None:
            return 0.0
        end = now if self.ended_at is None else self.ended_at
        return self.hours_before + self.num_there * max(0.0, end - self.paid_from) / _HOUR_S

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
        ended_at: when each of those ended, time of day, by island.
    """

    running: Map[str, NodeUse] = field(default_factory=Map)
    ended: Spent = Spent()
    ended_at: Map[str, float] = field(default_factory=Map)

    def after(self, uses: Iterable[NodeUse]) -> Ledger:
        """With some nodes started, or ended."""
        running, hours, cost = self.running, self.ended.node_hours, self.ended.cost
        ended_at = self.ended_at
        for use in uses:
            if use.ended_at is None:
                running = running.set(use.island, use)
                continue
            running = running.delete(use.island) if use.island in running else running
            ended_at = ended_at.set(use.island, use.ended_at)
            hours, cost = hours + use.hours(use.ended_at), cost + use.cost(use.ended_at)
        return Ledger(running, Spent(hours, cost), ended_at)

    def is_over(self, island: str) -> bool:
        """Whether its nodes have ended, and those that were started again in its place."""
        return island in self.ended_at and not any(
            name == island or name.startswith(f"{island}.") for name in self.running
        )

    def spent(self, now: float) -> Spent:
        """What all of them have taken until a time of day."""
        uses = self.running.values()
        hours = self.ended.node_hours + sum(use.hours(now) for use in uses)
        return Spent(hours, self.ended.cost + sum(use.cost(now) for use in uses))


def started(island: str, prices: Prices, now: float) -> tuple[NodeUse, Event]:
    """A node is asked for."""
    event = Event("island-started", "its node is asked for", island=island)
    return NodeUse(island, now, prices.highest, num_nodes=prices.num_nodes), event


def reconciled(
    ledger: Ledger,
    nodes: Iterable[Node],
    heard: Container[str],
    prices: Prices,
    now: float,
) -> tuple[tuple[NodeUse, ...], tuple[Event, ...]]:
    """What is different by what the provider sees.

    An orchestrator may have died between a node's start, or end, and the note of it.

    Args:
        ledger: as it was written down.
        nodes: all that the provider knows of.
        heard: islands that still speak: one whose node the provider does not know was started by
            an orchestrator on another machine, and one that is said to wait does so no longer.
        prices: of nodes.
        now: time of day.

    Returns:
        The nodes that are different or were found, and what is to be told of each.
    """
    seen = {node.island: node for node in nodes}
    uses, events = [], []
    for name, use in sorted(ledger.running.items()):
        node = seen.get(name)
        if (node is None and name not in heard) or (node is not None and not node.alive):
            uses.append(replace(use, ended_at=now))
            words = f"{node.reason if node else 'its node is gone'}; {_bill(use, now)}"
            events.append(Event("island-stopped", words, island=name))
        elif node is not None and use.paid_from is None and (node.is_there or name in heard):
            there = replace(use, price_per_hour=prices.of(node), num_missing=node.missing)
            uses.append(replace(there, paid_from=now))
            events.append(Event("island-up", _arrival(uses[-1], now), island=name))
        elif node is not None and use.paid_from is not None and node.missing != use.num_missing:
            until = replace(use, paid_from=now, hours_before=use.hours(now))
            uses.append(replace(until, num_missing=node.missing))
    for name, node in seen.items():
        if node.alive and name not in ledger.running:
            use = NodeUse(name, now, prices.of(node), num_nodes=prices.num_nodes)
            paid_from = now if node.is_there else None
            uses.append(replace(use, paid_from=paid_from, num_missing=node.missing))
            words = f"its node was found {'at work' if node.is_there else 'waiting'}"
            events.append(Event("island-started", words, island=name))
    return tuple(uses), tuple(events)


def _arrival(use: NodeUse, now: float) -> str:
    several = use.num_there > 1
    what, each = (f"its {use.num_there} nodes are", " each") if several else ("its node is", "")
    price = f", at {use.price_per_hour:g} an hour{each}" if use.price_per_hour else ""
    waited_h = (now - use.started_at) / _HOUR_S
    return f"{what} there{price}, {waited_h:.2f} h after it was asked for"


def _bill(use: NodeUse, now: float) -> str:
    cost = f", which cost {use.cost(now):.2f}" if use.price_per_hour else ""
    return f"it took {use.hours(now):.2f} node hours{cost}"
