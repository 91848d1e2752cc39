"""How many bytes this process sends, by what it asks torch for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import distributed

from tests.experts.parallel import scenes

# Of what a ring sends: the tensor that counts, by its place among the arguments, and how often
# each of its parts that is not one's own goes round.
_CALLS = {
    "all_reduce": (0, 2),
    "all_gather_single": (0, 1),
    "all_gather_into_tensor": (0, 1),
    "reduce_scatter_single": (1, 1),
    "reduce_scatter_tensor": (1, 1),
    "all_to_all_single": (1, 1),
}


@contextlib.contextmanager
def counted() -> Iterator[dict[str, float]]:
    """Inside, what is sent is added up, by the name of the call."""
    sent = dict.fromkeys(_CALLS, 0.0)
    originals = {name: getattr(distributed, name) for name in _CALLS if hasattr(distributed, name)}

    def counting(name, place, rounds):
        def call(*given, **named):
            values = [*given, *named.values()]
            num = distributed.get_world_size(named.get("group"))
            sent[name] += rounds * values[place].nbytes * (num - 1) / num
            return originals[name](*given, **named)

        return call

    for name in originals:
        setattr(distributed, name, counting(name, *_CALLS[name]))
    try:
        yield sent
    finally:
        for name, original in originals.items():
            setattr(distributed, name, original)


def sent_jointly(parallel: str, num: int) -> float:
    """The same of an MMDiT in bf16."""
    return sent_in_a_step(parallel, num, 1, sizes=scenes.JOINT, precision="bf16")


def sent_listening(parallel: str, num: int) -> float:
    """The same of a DiT whose blocks look at a text."""
    return sent_in_a_step(parallel, num, 1, sizes=scenes.LISTENING, told=scenes.BY_TEXT)


def sent_in_a_step(parallel: str, num: int, accumulation: int, **settings: Any) -> float:
    """Bytes that this process sends in a step, but for what DDP does within itself."""
    settings["accumulation"] = accumulation
    made, mesh = scenes.engine(parallel, num, distributed.get_rank(), **settings)
    told = settings.get("told", scenes.BY_CLASS)
    pieces = [scenes.examples(step, mesh.rows, told).split(accumulation) for step in range(2)]
    made.step(pieces[0])  # the first prepares
    with counted() as sent:
        made.step(pieces[1])
    return sum(sent.values())
