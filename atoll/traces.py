"""Traces of a trainer's next steps: what an operator asks for, and what became of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

MOST_STEPS = 100  # of one trace, which grows by megabytes with each
TRACE = "trace.json.gz"
OPERATORS = "operators.json"


@dataclass(frozen=True, slots=True)
class TraceWish:
    """A trace that somebody waits for.

    Attributes:
        id: of the wish, which is told again and again until it is answered.
        steps: how many.
    """

    id: str
    steps: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of a wish.

    Attributes:
        wish: its id.
        key: folder of the trace below the run's URI, with :data:`TRACE`, as Chrome and Perfetto
            read it, and :data:`OPERATORS`; "" if there is none.
        trouble: why there is none, in words; "" if there is one.
    """

    wish: str
    key: str = ""
    trouble: str = ""


def new_wish(steps: int) -> TraceWish:
    """A wish like no other."""
    return TraceWish(uuid.uuid4().hex, steps)
