"""Which nodes of an island are there, and who of them train together: a decision, and its reason.

Pure: works on values and a time, and knows of no lease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from atoll.gangs import Call, Gang, GangNode, Meeting, Trouble
from orchestrator.fleet.frozen import replace

_MOST_NAMES = 8  # in a sentence


@dataclass(frozen=True, slots=True)
class Presence:
    """A node that was heard.

    Attributes:
        node: as it says.
        since: when it was heard first, on the orchestrator's monotonic clock.
        heard_at: when it was last heard of, on the same clock.
        leaving: whether it was told to leave.
        trouble: how its trainer broke; None while it has not.
    """

    node: GangNode
    since: float
    heard_at: float
    leaving: bool = False
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many nodes an island has.

    Attributes:
        fewest: with which it still works.
        most: with which it works at most; more stand by.
        silence_s: after which a node is lost. For so long others are waited for, too.
        patience_s: for which too few wait for others.
    """

    fewest: int
    most: int
    silence_s: float
    patience_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Muster:
    """The nodes of one island.

    Attributes:
        island: its name.
        gang: who train together, as they are told.
        formed_at: when that was decided.
        present: nodes that are there, in order of coming.
        meeting: where their trainers meet; None while they do not.
        given_up: whether the island may go, because too few nodes came for too long.
    """

    island: str
    gang: Gang = field(default_factory=Gang)
    formed_at: float = -math.inf
    present: tuple[Presence, ...] = ()
    meeting: Meeting | None = None
    given_up: bool = False

    def leads(self, node: str) -> bool:
        """Whether a node holds the lease of the island, or may ask for one."""
        return bool(node) and self.gang.leader == node

    def has_lost_leader_of(self, before: Muster) -> bool:
        """Whether who led before is not there any more."""
        there = {each.node.name for each in self.present}
        return bool(before.gang.leader) and before.gang.leader not in there


def heard(muster: Muster, call: Call, now: float) -> Muster:
    """With one node's word for itself.

    A gang of a newer generation than is known here was formed by an orchestrator that is gone: it
    stands, and each of its nodes has a full time to be heard.
    """
    if call.gang.generation > muster.gang.generation:
        muster = _taken_over(muster, call.gang, now)
    known = {each.node.name: each for each in muster.present}
    before = known.get(call.node.name, Presence(call.node, now, now))
    known[call.node.name] = replace(
        before, node=call.node, heard_at=now, leaving=call.leaving, trouble=call.trouble
    )
    muster = replace(muster, present=tuple(known.values()))
    said = call.meeting
    if muster.leads(call.node.name) and (said is None or said.generation == muster.gang.generation):
        muster = replace(muster, meeting=said)
    return replace(muster, gang=_with_others(muster))


def spared(muster: Muster, away_s: float, sizes: Sizes, now: float) -> Muster:
    """After the orchestrator was away itself: whoever was not silent before counts as heard now."""
    return replace(
        muster,
        present=tuple(
            replace(each, heard_at=now) if each.heard_at + sizes.silence_s >= now - away_s else each
            for each in muster.present
        ),
    )


def decided(muster: Muster, sizes: Sizes, now: float) -> tuple[Muster, str]:
    """Who train together from now on, and why that is different; "" where it is not.

    The leader stays as long as it lives, and the others keep their order behind it. Who is lost is
    left out at once; who comes is taken in once no others are on their way, so that work is
    interrupted once and not for each of them.
    """
    present = tuple(each for each in muster.present if now - each.heard_at < sizes.silence_s)
    staying = {each.node.name: each for each in present if not each.leaving}
    kept = [name for name in muster.gang.names if name in staying]
    come = [name for name in staying if name not in kept]
    wanted = (kept + come)[: sizes.most]
    lacks = len(kept) < len(muster.gang.nodes)
    grows = len(wanted) > len(kept) and len(wanted) >= sizes.fewest
    waited_s = now - max((staying[name].since for name in come), default=now)
    ready = len(wanted) == sizes.most or waited_s >= sizes.silence_s
    muster = replace(muster, present=present)
    if not lacks and not (grows and ready):
        is_late = not muster.gang.nodes and now - muster.formed_at > sizes.patience_s
        if present and is_late and not muster.given_up:
            return replace(muster, given_up=True), _too_few(len(staying), sizes)
        return replace(muster, gang=_with_others(muster)), ""
    enough = wanted if len(wanted) >= sizes.fewest else []
    gang = Gang(muster.gang.generation + 1, tuple(staying[name].node for name in enough))
    why = _why(muster, kept, [name for name in wanted if name not in kept])
    why = f"{why}; {_in_words(gang, wanted, sizes)}"
    after = replace(muster, gang=replace(gang, why=why), formed_at=now, meeting=None)
    return replace(after, gang=_with_others(after)), why


def _taken_over(muster: Muster, gang: Gang, now: float) -> Muster:
    known = {each.node.name: each for each in muster.present}
    for node in gang.nodes:
        known[node.name] = Presence(node, now, now)
    return replace(muster, gang=gang, formed_at=now, present=tuple(known.values()), meeting=None)


def _with_others(muster: Muster) -> Gang:
    names = muster.gang.names
    others = tuple(each.node.name for each in muster.present if each.node.name not in names)
    return replace(muster.gang, others=others)


def _why(muster: Muster, kept: list[str], come: list[str]) -> str:
    there = {each.node.name for each in muster.present}
    gone = [name for name in muster.gang.names if name not in kept]
    happened = {
        "lost": [name for name in gone if name not in there],
        "leaving": [name for name in gone if name in there],
        "new": come,
    }
    return ", ".join(f"{word}: {_few(names)}" for word, names in happened.items() if names)


def _in_words(gang: Gang, wanted: list[str], sizes: Sizes) -> str:
    if not gang.nodes:
        return f"{len(wanted)} of at least {sizes.fewest} nodes wait for others"
    others = _few(gang.names[1:])
    return f"{gang.leader} leads {others}" if others else f"{gang.leader} goes on alone"


def _few(names: Sequence[str]) -> str:
    """Some of many names, which a line has room for."""
    shown = names[:_MOST_NAMES]
    more = [f"{len(names) - len(shown)} others"] if len(names) > len(shown) else []
    return ", ".join([*shown, *more])


def _too_few(num: int, sizes: Sizes) -> str:
    waited = f"waited {sizes.patience_s:g} s for others, and may go"
    return f"{num} of at least {sizes.fewest} nodes {waited}"
