"""Which copies in a cache give way to others: a pure decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copy:
    """A file in a cache: sha256 (hex) of its bytes, how many they are, and when it was last used.

    The time is in nanoseconds since the Unix epoch; 0 if it is not known.
    """

    digest: str
    size_bytes: int
    used_at_ns: int


def giving_way(copies: Sequence[Copy], used: Collection[str], excess_bytes: int) -> list[Copy]:
    """The copies to delete, least recently used first, and no more of them than it takes.

    Args:
        copies: all there are.
        used: digests of those that have to stay.
        excess_bytes: how much has to go; all that may goes if it is less than that.
    """
    idle = [copy for copy in copies if copy.digest not in used]
    gone: list[Copy] = []
    for copy in sorted(idle, key=lambda copy: (copy.used_at_ns, copy.digest)):
        if excess_bytes <= 0:
            break
        gone.append(copy)
        excess_bytes -= copy.size_bytes
    return gone
