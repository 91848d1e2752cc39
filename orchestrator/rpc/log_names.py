"""By which names operators read a log.

An island of one node writes under its own name, and its trainer under the job's. Where an island
has several, each node writes under these and its own, ``island-3/node-1`` and ``expert-0/node-1``,
and the one that leads under the plain names, too.
"""

from __future__ import annotations

from atoll.errors import Refused
from orchestrator.fleet.state import Fleet


def agent_names(fleet: Fleet, writer: str) -> tuple[str, ...]:
    """Of what the agent of an island writes, or of a node of one.

    Args:
        fleet: knows who leads.
        writer: name of the island, with the node after a slash where it has several.
    """
    return _names(fleet, writer, writer.partition("/")[0])


def trainer_names(fleet: Fleet, writer: str, job: str) -> tuple[str, ...]:
    """Of what the trainer of a job writes there."""
    return _names(fleet, writer, job)


def writer_for(fleet: Fleet, island: str, node: str = "") -> str:
    """Who writes a log of an island: a node of it, or the one that leads, or its only one.

    Raises:
        Refused: it has no such node.
    """
    known = fleet.gangs.get(island)
    names = [each.node.name for each in known.present] if known else []
    if node and node not in names:
        there = f"there is {', '.join(names)}" if names else "it has but one"
        raise Refused(f"no node of {island} is called {node!r}; {there}")
    if known and not node:
        node = known.gang.leader
    return f"{island}/{node}" if node else island


def _names(fleet: Fleet, writer: str, plain: str) -> tuple[str, ...]:
    island, _, node = writer.partition("/")
    if not node:
        return (plain,)
    leads = island in fleet.gangs and fleet.gangs[island].leads(node)
    return (f"{plain}/{node}", plain) if leads else (f"{plain}/{node}",)
