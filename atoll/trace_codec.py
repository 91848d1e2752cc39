"""Between traces as the house has them and the wire's messages, see :mod:`atoll.codec`."""

from __future__ import annotations

from atoll import traces
from atoll.codec import count, required
from atoll.errors import Refused
from atoll.wire.v1 import control_pb2 as wire

_MOST_WORDS = 1000


def encode_wish(wish: traces.TraceWish) -> wire.TraceWish:
    """See :class:`atoll.traces.TraceWish`."""
    return wire.TraceWish(id=wish.id, steps=wish.steps)


def decode_wish(message: wire.TraceWish) -> traces.TraceWish:
    """See :class:`atoll.traces.TraceWish`."""
    return traces.TraceWish(message.id, message.steps)


def encode_trace(trace: traces.Trace) -> wire.Trace:
    """See :class:`atoll.traces.Trace`; of much trouble the beginning."""
    printable = (c if c.isprintable() else " " for c in trace.trouble)
    trouble = "".join(printable)[:_MOST_WORDS]
    return wire.Trace(wish=trace.wish, key=trace.key, trouble=trouble)


def decode_trace(message: wire.Trace) -> traces.Trace:
    """See :class:`atoll.traces.Trace`. Raises: Refused."""
    wish = required(message.wish, "wish")
    if message.trouble:
        return traces.Trace(wish, trouble=required(message.trouble, "trouble", _MOST_WORDS))
    return traces.Trace(wish, required(message.key, "key"))


def decode_steps(message: wire.ProfileRequest) -> int:
    """Of how many steps a trace is asked for. Raises: Refused."""
    if not message.steps:
        raise Refused("the message asks for a trace of no steps")
    return count(message.steps, "steps", traces.MOST_STEPS)
