"""Which islands to start and stop, so that enough of them are alive, and none for nothing.

Pure: reads the fleet, what the provider sees and the time; remembers in a value of its own.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from immutables import Map

from cluster.provider import Node
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.state import Fleet, Island

_LEAVE_S = 3.0  # dismissed agents leave by themselves; what stays longer is stopped
_HUNG_S = 60.0  # an agent that should have stopped itself so long ago hangs
FORSAKE_S = 30.0  # a provider that does not answer is asked to stop them for so long


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """What recovery goes by.

    Attributes:
        num_islands: alive at once.
        max_tries: waves of islands that may die young, without a checkpoint between, before the
            jobs are given up.
        backoff_s: pause after the first wave; doubles with each one more.
        young_s: an island that dies before this age, or says nothing until then, died young.
        orphan_s: an island that reaches no orchestrator for so long stops itself.
    """

    num_islands: int
    max_tries: int
    backoff_s: float
    young_s: float
    orphan_s: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is remembered from one look to the next.

    Attributes:
        since: when each island that is counted on was started, or found, on the monotonic clock.
        num_young: islands that died young since a checkpoint was committed.
        committed: steps committed in the whole fleet.
        not_before: no island is started earlier.
        settled_at: since when nobody works and nobody will.
        last_number: the highest in an island's name, so that no name is used twice.
        let_go: islands that live and are counted on no more, because fewer jobs are open.
        unheard: since when each that lives is lost, or gone, or has yet to speak.
    """

    since: Map[str, float] = field(default_factory=Map)
    num_young: int = 0
    committed: int = 0
    not_before: float = 0.0
    settled_at: float = math.inf
    last_number: int = 0
    let_go: frozenset[str] = frozenset()
    unheard: Map[str, float] = field(default_factory=Map)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    Attributes:
        start: names of islands to start.
        stop: islands to stop, since there is nothing for them to do.
        hung: islands to stop, since they neither speak nor end.
        dismiss: idle islands that may leave.
        give_up: whether no island can be kept alive.
        held_back: why none is started for a while, in words; "" for nothing new.
        forsaken: islands that nobody can stop, because their provider does not answer; they do it
            themselves once they have reached no orchestrator for long enough.
    """

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    hung: tuple[str, ...] = ()
    dismiss: tuple[str, ...] = ()
    give_up: bool = False
    held_back: str = ""
    forsaken: tuple[str, ...] = ()


def look(
    recovery: Recovery, fleet: Fleet, nodes: Sequence[Node], policy: RecoveryPolicy, now: float
) -> tuple[Recovery, Plan]:
    """What to do, and what to remember.

    A frozen island is alive for its provider yet lost for the fleet: it is replaced. Since its
    epoch can publish nothing it is left alone, until it should have stopped itself long ago.
    """
    alive = [node.island for node in nodes if node.alive]
    waiting = {node.island for node in nodes if node.waiting}
    if fleet.is_settled:
        settled_at = min(recovery.settled_at, now)
        stop = tuple(alive) if now - settled_at >= _LEAVE_S else ()
        stale = tuple(node.island for node in nodes if node.alive and node.stale)
        plan = Plan(stop=stop, forsaken=stale if now - settled_at >= FORSAKE_S else ())
        return replace(recovery, since=Map(), settled_at=settled_at), plan
    let_go = recovery.let_go.intersection(alive).difference(_at_work_again(recovery, fleet))
    # One that stands in a queue has not begun to be silent.
    first_seen = {name: now if name in waiting else recovery.since.get(name, now) for name in alive}
    useful = {
        name: since
        for name, since in first_seen.items()
        if name not in let_go and _is_useful(fleet.islands.get(name), now - since, policy)
    }
    missing = [name for name in recovery.since if name not in useful]
    recovery = _after_commits(replace(recovery, settled_at=math.inf), fleet)
    last_number = max(recovery.last_number, last_number_of(node.island for node in nodes))
    since = recovery.since.update(useful)
    unheard = Map(
        (name, recovery.unheard.get(name, now))
        for name in alive
        if name not in waiting and not _is_there(fleet.islands.get(name))
    )
    recovery = replace(
        recovery, since=since, last_number=last_number, let_go=let_go, unheard=unheard
    )
    recovery, plan = replaced(recovery, fleet, missing, policy, now)
    candidates = dispensable(fleet, recovery.since, waiting)
    recovery, spare = spared(recovery, fleet, candidates, policy)
    stop = tuple(name for name in spare if name in waiting)
    dismiss = tuple(name for name in spare if name not in waiting)
    hung = tuple(_hung(unheard, nodes, policy, now))
    return recovery, replace(plan, stop=stop, hung=hung, dismiss=dismiss)


def replaced(
    recovery: Recovery,
    fleet: Fleet,
    missing: Sequence[str],
    policy: RecoveryPolicy,
    now: float,
) -> tuple[Recovery, Plan]:
    """What :func:`look` does about islands that are missing, whoever noticed it.

    Args:
        recovery: what is remembered; ``since`` still holds the missing ones.
        fleet: which is not settled.
        missing: islands that were counted on and are of no use any more.
        policy: what recovery goes by.
        now: on the monotonic clock.
    """
    num_young = sum(
        now - recovery.since[name] <= policy.young_s or name not in fleet.islands
        for name in missing
    )
    if missing:
        recovery = replace(recovery, since=_without(recovery.since, missing))
    recovery = _after_deaths(recovery, num_young, policy, now)
    useful = len(recovery.since)
    if not useful and _waves(recovery.num_young, policy) > policy.max_tries:
        return replace(recovery, num_young=0), Plan(give_up=True)
    if fleet.draining or now < recovery.not_before:
        pause_s = recovery.not_before - now
        num = f"{recovery.num_young} island{'s' * (recovery.num_young > 1)}"
        words = f"{num} died young; the next is started in {pause_s:.1f} s"
        return recovery, Plan(held_back=words if num_young and not fleet.draining else "")
    wanted = min(policy.num_islands, fleet.jobs.num_open)
    num_missing = wanted - useful
    if num_missing <= 0:
        return recovery, Plan()
    first = recovery.last_number + 1
    started = tuple(f"island-{number}" for number in range(first, first + num_missing))
    since = recovery.since.update(dict.fromkeys(started, now))
    last_number = recovery.last_number + num_missing
    return replace(recovery, since=since, last_number=last_number), Plan(start=started)


def spared(
    recovery: Recovery, fleet: Fleet, candidates: Iterable[str], policy: RecoveryPolicy
) -> tuple[Recovery, tuple[str, ...]]:
    """Lets islands go that fewer open jobs than islands leave without work: nodes cost money.

    Args:
        recovery: what is remembered.
        fleet: which is not settled.
        candidates: who may go, see :func:`dispensable`.
        policy: what recovery goes by.

    Returns:
        What to remember, and who goes.
    """
    num = len(recovery.since) - min(policy.num_islands, fleet.jobs.num_open)
    if num <= 0 or fleet.draining:
        return recovery, ()
    spare = tuple(islice(candidates, num))
    let_go, since = recovery.let_go.union(spare), _without(recovery.since, spare)
    return replace(recovery, since=since, let_go=let_go), spare


def dispensable(fleet: Fleet, names: Iterable[str], waiting: Container[str]) -> Iterator[str]:
    """Of islands that are counted on, those that work on nothing, in the order of their going.

    Args:
        fleet: as it is.
        names: of the islands.
        waiting: islands whose nodes stand in a queue, or are being made. They go first, and then
            the idle, the slowest first.
    """
    known = {name: fleet.islands.get(name) for name in sorted(names, key=number_of)}
    yield from (name for name, island in known.items() if island is None and name in waiting)
    idle = [name for name, island in known.items() if island and island.state == "idle"]
    yield from sorted(idle, key=lambda name: fleet.speeds.get(name, 1.0))


def _at_work_again(recovery: Recovery, fleet: Fleet) -> Iterator[str]:
    """Of those let go, the ones that found a job before they were told."""
    for name in recovery.let_go:
        island = fleet.islands.get(name)
        if island is not None and island.state == "working" and not island.leaving:
            yield name


def _is_useful(island: Island | None, age_s: float, policy: RecoveryPolicy) -> bool:
    if island is None:
        return age_s <= policy.young_s  # still starting
    return _is_there(island)


def _is_there(island: Island | None) -> bool:
    return island is not None and island.state in {"idle", "working"}


def _hung(
    unheard: Map[str, float], nodes: Iterable[Node], policy: RecoveryPolicy, now: float
) -> Iterator[str]:
    """Those that are silent for so long that an agent which lives would have stopped itself."""
    patience_s = max(policy.orphan_s, policy.young_s) + _HUNG_S
    for node in nodes:
        if not node.stale and now - unheard.get(node.island, now) > patience_s:
            yield node.island


def _after_commits(recovery: Recovery, fleet: Fleet) -> Recovery:
    if fleet.jobs.committed == recovery.committed:
        return recovery
    return replace(recovery, committed=fleet.jobs.committed, num_young=0)


def _after_deaths(recovery: Recovery, num: int, policy: RecoveryPolicy, now: float) -> Recovery:
    if not num:
        return recovery
    num_young = recovery.num_young + num
    pause_s = policy.backoff_s * 2.0 ** min(_waves(num_young, policy) - 1, 10)
    return replace(recovery, num_young=num_young, not_before=now + pause_s)


def _waves(num_young: int, policy: RecoveryPolicy) -> int:
    return math.ceil(num_young / policy.num_islands)


def _without(since: Map[str, float], names: Sequence[str]) -> Map[str, float]:
    for name in names:
        since = since.delete(name)
    return since


def last_number_of(islands: Iterable[str]) -> int:
    """The highest number in the names of some islands; 0 for none."""
    return max(map(number_of, islands), default=0)


def number_of(island: str) -> int:
    """The number at the end of an island's name; 0 for none."""
    number = island.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
