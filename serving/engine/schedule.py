"""Which images are evaluated next. A pure decision: no tensors, no clock.

Whoever is due first goes first. An image is due some time after it was asked for: its request's
patience, and a little more for each image of the same request before it, so that a large request is
spread between others instead of standing before them. What is asked for later is due later, unless
it is more urgent, and then by no more than the difference of two patiences: nobody starves, and the
delay that one request may cause another is bounded by that difference.

Half of a batch is given away so. The rest goes to those who need experts that run anyway, the most
urgent first, which fills the experts' batches.

Source: earliest deadline first, Liu & Layland (JACM 1973).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

SPREAD_S = 0.05  # between two images of one request


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image that waits for its next evaluation.

    Attributes:
        slot: where it is.
        due_at: when it should have been finished, in seconds.
        experts: those it has yet to hear in this evaluation.
        num_rows: of a batch that it takes: two, where it is guided.
    """

    slot: int
    due_at: float
    experts: frozenset[int]
    num_rows: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do next.

    Attributes:
        slots: of the images to evaluate.
        experts: that are to be asked.
        wanted: experts that images wait for, in memory or not, the most urgent first.
    """

    slots: tuple[int, ...]
    experts: frozenset[int]
    wanted: tuple[int, ...]


def choose(waiting: Sequence[Waiting], resident: Collection[int], most_rows: int) -> Choice:
    """Choose a batch.

    Args:
        waiting: all images.
        resident: experts in memory.
        most_rows: of a batch, at least 2.
    """
    there = frozenset(resident)
    queue = sorted(waiting, key=lambda each: (each.due_at, each.slot))
    wanted = [expert for each in queue for expert in sorted(each.experts)]
    ready = [each for each in queue if each.experts & there]
    first, room = _filled(ready, -(-most_rows // 2))
    room += most_rows - -(-most_rows // 2)
    at_work = frozenset[int]().union(*(each.experts & there for each in first))
    others = ready[len(first) :]
    alike = [each for each in others if each.experts & there <= at_work]
    more, room = _filled(alike, room)
    taken = {each.slot for each in more}
    rest, _ = _filled([each for each in others if each.slot not in taken], room)
    chosen = [*first, *more, *rest]
    asked = there & frozenset[int]().union(*(each.experts for each in chosen))
    return Choice(tuple(each.slot for each in chosen), asked, tuple(dict.fromkeys(wanted)))


def due_at(arrived_at: float, patience_s: float, position: int) -> float:
    """When an image is due; see the module.

    Args:
        arrived_at: of its request.
        patience_s: of its request.
        position: of the image in the request.
    """
    return arrived_at + patience_s + position * SPREAD_S


def _filled(queue: Sequence[Waiting], room: int) -> tuple[list[Waiting], int]:
    """The first of a queue that there is room for, and the room that is left."""
    taken = []
    for each in queue:
        if each.num_rows > room:
            break
        taken.append(each)
        room -= each.num_rows
    return taken, room
