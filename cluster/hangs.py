"""Which of an island's processes keeps the others waiting; a pure decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atoll.beats import Beat, Collective, Phase


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as its agent sees it.

    Attributes:
        beat: its last.
        silent_s: time since then.
        still_s: time since it last came to anything new: a step, a phase, a collective.
    """

    beat: Beat
    silent_s: float
    still_s: float


def hang(seen: Sequence[Seen], hang_s: float) -> str:
    """Which process hangs, and in what the others wait, in words; "" if none does.

    A process that does not beat is frozen, whatever it was at. Where all beat, nobody is accused
    while any of them gets on, or is at what the others rightly wait for: the first process draws
    grids and writes checkpoints alone. Of an island of several nodes each sees its own processes;
    those that wait for others blame nobody, unless the first is among them.

    Args:
        seen: the processes of a node, as far as they were heard; those that have ended need not
            beat while the first still uploads.
        hang_s: time for which nothing may move.
    """
    frozen = [it for it in seen if it.silent_s >= hang_s and it.beat.phase is not Phase.END]
    waiting = [it for it in seen if it.beat.inside and it not in frozen]
    if frozen:
        return f"{_named(frozen)} gave no sign of life for {hang_s:g} s{_waits(waiting)}"
    still = all(it.beat.phase is Phase.STEP and it.still_s >= hang_s for it in seen)
    some_elsewhere = any(len(seen) < it.beat.world for it in seen)
    if not still or not (waiting or some_elsewhere):
        return ""
    if late := _late(seen, waiting):
        return _missed(late, waiting, hang_s)
    if all(it.beat.rank for it in seen):
        return ""
    step = waiting[0].beat.step
    return f"nothing moved for {hang_s:g} s after step {step}{_waits(waiting)}"


def _missed(late: Sequence[Seen], waiting: Sequence[Seen], hang_s: float) -> str:
    awaited = (
        f"did not come to {_awaited(late[0], waiting).name}" if waiting else "came to no collective"
    )
    at = f", and is at {late[0].beat.at}" if late[0].beat.at else ""
    others = [it for it in waiting if it not in late]
    step = late[0].beat.step
    return f"{_named(late)} {awaited} for {hang_s:g} s after step {step}{at}{_waits(others)}"


def _late(seen: Sequence[Seen], waiting: Sequence[Seen]) -> list[Seen]:
    """Those that others wait for: first by the count of calls, else those that wait in none."""
    behind = [it for it in seen if any(_is_behind(it.beat, each) for each in _inside(waiting))]
    return behind or [it for it in seen if it not in waiting]


def _awaited(late: Seen, waiting: Sequence[Seen]) -> Collective:
    """The first call that a process is missed in."""
    calls = list(_inside(waiting))
    missed = [each for each in calls if _is_behind(late.beat, each)] or calls
    return min(missed, key=lambda each: each.number)


def _inside(waiting: Iterable[Seen]) -> Iterable[Collective]:
    return (each for it in waiting for each in it.beat.inside)


def _is_behind(beat: Beat, collective: Collective) -> bool:
    """Whether a process of the group has not come to a call of it."""
    return beat.entered.get(collective.group, collective.number) < collective.number


def _waits(waiting: Sequence[Seen]) -> str:
    places = (f"; {_named([it])} waits in {it.beat.inside[0].name}" for it in waiting)
    return "".join(places)


def _named(seen: Sequence[Seen]) -> str:
    numbers = ", ".join(str(it.beat.rank) for it in seen)
    return f"rank{'s' if len(seen) > 1 else ''} {numbers} of {seen[0].beat.world}"
