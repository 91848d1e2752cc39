"""The parts of logs that islands tell and operators read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogsWanted:
    """Which of an island's logs somebody reads: its agent's, its trainer's."""

    agent: bool = False
    trainer: bool = False


@dataclass(frozen=True, slots=True)
class LogPlace:
    """How far in a log: bytes of what an island wrote, itself (epoch 0) or under a lease.

    Where an island has several nodes it is named with the one that wrote: ``island-3/node-1``.
    """

    island: str
    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class LogPiece:
    """What a log has gained.

    Attributes:
        begin: where the text begins.
        job: whose trainer wrote it; "" for the agent itself.
        text: as it stands in the log, at most 64 KiB.
    """

    begin: LogPlace
    job: str
    text: bytes


@dataclass(frozen=True, slots=True)
class LogLines:
    """Some lines of a log, as an operator reads them.

    Attributes:
        lines: without their ends.
        end: where the log stands after them; None where it is only spoken of.
        note: what the control plane says of the log itself; "" for nothing.
    """

    lines: tuple[str, ...] = ()
    end: LogPlace | None = None
    note: str = ""
