"""Changed copies of frozen dataclasses with slots, in half the time of the standard library's.

Every transition of the fleet makes some. :func:`dataclasses.replace` looks up each field anew and
goes through ``__init__``: that was a fifth of the time of a simulation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: Any, **changes: Any) -> Any:
        """A copy with some fields changed.

        Args:
            value: of a frozen dataclass with slots, without bases and without ``__post_init__``.
            changes: new values, by field.

        Raises:
            TypeError: it has no such field.
        """
        kind = value.__class__
        copy = object.__new__(kind)
        num_left = len(changes)
        for name, read, write in _slots(kind):
            if name in changes:
                write(copy, changes[name])
                num_left -= 1
            else:
                write(copy, read(value))
        if num_left:
            unknown = sorted(changes.keys() - set(kind.__slots__))
            raise TypeError(f"{kind.__name__} has no field {', '.join(unknown)}")
        return copy


@cache
def _slots(kind: type) -> list[tuple[str, Callable[..., Any], Callable[..., None]]]:
    """Name, reader and writer of each field; the writer does not ask whether it is frozen."""
    slots = [(name, kind.__dict__[name]) for name in kind.__slots__]  # type: ignore[attr-defined]
    return [(name, slot.__get__, slot.__set__) for name, slot in slots]
