"""What the nodes of islands of several ask of the fleet, and what befalls them.

Pure: each function reads a fleet and the time, and returns its answer, or the change it makes.
"""

from __future__ import annotations

from atoll.errors import Refused
from atoll.gangs import Answer, Call, Seat
from atoll.types import Assignment, Event
from orchestrator.fleet import leases, muster, operations
from orchestrator.fleet.muster import Muster, Sizes
from orchestrator.fleet.state import Change, Fleet, Island

_MOST_SPARE = 64  # nodes of an island beyond those it needs


def gather(fleet: Fleet, call: Call, now: float) -> Change:
    """Count a node in. Who trains with whom is decided by :func:`look`.

    Raises:
        Refused: the run's islands have one node each, this one has too many, or a job its name.
    """
    if fleet.policy.max_nodes == 1:
        raise Refused(
            f"{call.island} comes with several nodes, and the run's islands have one; set "
            "island.nodes, or start its agent without --node"
        )
    leases.refuse_job_name(fleet, call.island)
    before = fleet.gangs.get(call.island) or Muster(call.island, formed_at=now)
    is_new = all(each.node.name != call.node.name for each in before.present)
    if is_new and len(before.present) >= fleet.policy.max_nodes + _MOST_SPARE:
        raise Refused(f"{call.island} has {len(before.present)} nodes already, and needs no more")
    counted = Change(gangs=(muster.heard(before, call, now),))
    known = fleet.islands.get(call.island)
    if _is_dismissed(fleet, call.island) or (known and known.state == "working"):
        return counted
    leaving = known is not None and known.leaving
    idle = Change(islands=(Island(call.island, now, leaving=leaving),))
    return leases.joined(fleet, call.island).then(counted).then(idle)


def answer(fleet: Fleet, island: str) -> Answer:
    """What the nodes of an island are told, all the same."""
    known = fleet.gangs.get(island, Muster(island))
    held = fleet.held_by(island)
    if held is None:
        dismissed = known.given_up or _is_dismissed(fleet, island)
        return Answer(known.gang, dismissed=dismissed)
    meeting = known.meeting if known.meeting and known.meeting.epoch == held.epoch else None
    told = [each.trouble for each in known.present if each.trouble]
    return Answer(
        gang=known.gang,
        assignment=Assignment(held.lease(fleet.policy), held.spec, held.checkpoint),
        meeting=meeting,
        troubles=tuple(each for each in told if each.epoch == held.epoch),
    )


def may_acquire(fleet: Fleet, island: str, seat: Seat | None) -> bool:
    """Whether a node may ask for work: of several only the leader of the gang as it is now."""
    known = fleet.gangs.get(island)
    if seat is None:
        return known is None
    return known is not None and known.leads(seat.node) and known.gang.generation == seat.generation


def look(fleet: Fleet, now: float) -> Change:
    """Decide anew of each island who trains together; to be asked before the fleet's own tick.

    A leader that is lost loses the island's lease, under whose epoch it can publish nothing more.
    """
    sizes = _sizes(fleet)
    away_s = 0.0 if fleet.ticked_at is None else now - fleet.ticked_at
    if away_s > fleet.policy.term_s / 2:
        each = fleet.gangs.values()
        return Change(gangs=tuple(muster.spared(it, away_s, sizes, now) for it in each))
    change = Change()
    for before in fleet.gangs.values():
        after, why = muster.decided(before, sizes, now)
        if after == before:
            continue
        made = Change(gangs=(after,))
        if why and after.present:
            kind = "island-ungathered" if after.given_up else "island-gathered"
            words = f"generation {after.gang.generation}: {why}"
            made = made.then(Change(events=(Event(kind, words, island=before.island),)))
        held = fleet.held_by(before.island)
        # Where nobody is left, the island is lost with its lease.
        if held and after.present and after.has_lost_leader_of(before):
            words = f"{before.gang.leader}, which led {before.island}, was lost"
            made = made.then(operations.leader_lost(fleet, held, words, now))
        change = change.then(made)
    return change


def _sizes(fleet: Fleet) -> Sizes:
    policy = fleet.policy
    return Sizes(policy.min_nodes, policy.max_nodes, policy.term_s, policy.gather_s)


def _is_dismissed(fleet: Fleet, island: str) -> bool:
    known = fleet.islands.get(island)
    leaves = known is not None and known.leaving
    return fleet.held_by(island) is None and (fleet.draining or fleet.is_over or leaves)
