"""Which images are evaluated next. A pure decision: no tensors, no clock.

Whoever is due first goes first. An image is due some time after it was asked for: its request's
patience, and a little more for each image of the same request before it, so that a large request is
spread between others instead of standing before them. What is asked for later is due later, unless
it is more urgent, and then by no more than the difference of two patiences: nobody starves.

Whoever goes takes company along: all who need the same experts, which costs little more than going
alone, and keeps each expert's batches full. So an image may be overtaken by one that is due later,
but not for long: who was left out for some rounds, a round being as many batches as hold everybody,
goes before all but the first, and before that one too where there is no room for both. That bounds
the delay one request may cause another.

A batch may hold images of several shapes: networks are given one shape after the other, and nobody
waits for others of their own.

Where not all experts are in memory, those are to be there that the first image needs, and those at
work. Others come as there is room, and who is there stays as long as anybody needs it.

Source: earliest deadline first, Liu & Layland (JACM 1973).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

SPREAD_S = 0.05  # between two images of one request
ROUNDS = 3  # that an image can be left out, before it is starving


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image that waits for its next evaluation.

    Attributes:
        slot: where it is.
        due_at: when it should have been finished, in seconds.
        experts: those it has yet to hear in this evaluation.
        num_rows: of a batch that it takes: two, where it is guided.
        skipped: batches in a row that it could have had a place in.
    """

    slot: int
    due_at: float
    experts: frozenset[int]
    num_rows: int = 1
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do next.

    Attributes:
        slots: of the images to evaluate.
        experts: that are to be asked.
        skipped: slots of images that could be evaluated, and are not.
        wanted: experts to be in memory now, the most urgent first.
        later: other experts that images wait for, the most urgent first.
    """

    slots: tuple[int, ...]
    experts: frozenset[int]
    skipped: tuple[int, ...]
    wanted: tuple[int, ...]
    later: tuple[int, ...]


def choose(waiting: Sequence[Waiting], resident: Collection[int], most_rows: int) -> Choice:
    """Choose a batch.

    Args:
        waiting: all images.
        resident: experts in memory.
        most_rows: of a batch, at least 2.
    """
    there = frozenset(resident)
    queue = sorted(waiting, key=lambda each: (each.due_at, each.slot))
    ready = [each for each in queue if each.experts & there]
    patient = ROUNDS * _batches(ready, most_rows)
    starving = [each for each in ready[1:] if each.skipped >= patient]
    starving.sort(key=lambda each: -each.skipped)
    before_all = [*ready[:1], *starving]
    if sum(each.num_rows for each in before_all[:2]) > most_rows:
        before_all = starving
    chosen, room = _filled(before_all, most_rows)
    left = _without(ready, chosen)
    while left:
        at_work = _experts(chosen) & there
        company = [each for each in left if each.experts & there <= at_work]
        taken, room = _filled(company or left[:1], room)
        if not taken:
            break
        chosen += taken
        left = _without(left, taken)
    at_work = _experts(chosen) & there
    needed = _experts(queue[:1]) | at_work
    in_turn = _in_turn(queue)
    return Choice(
        slots=tuple(each.slot for each in chosen),
        experts=at_work,
        skipped=tuple(each.slot for each in left),
        wanted=tuple(expert for expert in in_turn if expert in needed),
        later=tuple(expert for expert in in_turn if expert not in needed),
    )


def due_at(arrived_at: float, patience_s: float, position: int) -> float:
    """When an image is due; see the module.

    Args:
        arrived_at: of its request.
        patience_s: of its request.
        position: of the image in the request.
    """
    return arrived_at + patience_s + position * SPREAD_S


def _batches(ready: Sequence[Waiting], most_rows: int) -> int:
    return -(-sum(each.num_rows for each in ready) // most_rows)


def _experts(images: Sequence[Waiting]) -> frozenset[int]:
    return frozenset[int]().union(*(each.experts for each in images))


def _in_turn(queue: Sequence[Waiting]) -> tuple[int, ...]:
    """The experts of images, each once, in the order of the images."""
    return tuple(dict.fromkeys(expert for each in queue for expert in sorted(each.experts)))


def _without(queue: Sequence[Waiting], taken: Sequence[Waiting]) -> list[Waiting]:
    slots = {each.slot for each in taken}
    return [each for each in queue if each.slot not in slots]


def _filled(queue: Sequence[Waiting], room: int) -> tuple[list[Waiting], int]:
    """The first of a queue that there is room for, and the room that is left."""
    taken = []
    for each in queue:
        if each.num_rows > room:
            break
        taken.append(each)
        room -= each.num_rows
    return taken, room
