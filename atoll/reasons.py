"""Reasons in words, which others gave and we keep or pass on."""

from __future__ import annotations

_MOST_WORDS = 1000  # characters of a reason; statuses of gRPC carry little more


def brief(reason: str) -> str:
    """A reason that somebody gave, short enough to be kept, and one line that moves no cursor."""
    if not reason.isprintable():
        reason = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in reason)
    return reason if len(reason) <= _MOST_WORDS else f"{reason[:_MOST_WORDS]}…"
