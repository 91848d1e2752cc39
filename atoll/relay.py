"""What a trainer and its agent say to each other, without a socket.

The trainer appends JSON lines to a file the agent follows, so that neither waits for the other. The
agent holds the trainer's standard input: a line on it is an order, its end means that the agent is
gone and the trainer must stop.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atoll.traces import Trace, TraceWish
from atoll.types import (
    Assignment,
    CheckpointRef,
    IncidentKind,
    JobSpec,
    Lease,
    Progress,
    Role,
    Vitals,
)

log = logging.getLogger(__name__)

EVENTS = "events.jsonl"
ASSIGNMENT = "assignment.json"
PARALLEL = "parallel"
DRAIN = "drain\n"
_TRACE = "trace"


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint was uploaded and waits to be committed.

    Attributes:
        checkpoint: as uploaded.
        loss: mean training loss of the steps before it; NaN if it is not known.
    """

    checkpoint: CheckpointRef
    loss: float = math.nan


@dataclass(frozen=True, slots=True)
class Ended:
    """The trainer leaves by itself: all steps done, or drained as asked. Its last word."""

    finished: bool


@dataclass(frozen=True, slots=True)
class Broke:
    """The trainer cannot go on, and says why. Its last word.

    Attributes:
        reason: one sentence.
        final: the input is at fault, so another try would end the same.
    """

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Damaged:
    """The checkpoint to go on from is not what was written. The trainer's last word.

    Attributes:
        reason: which file, in a sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Overcame:
    """Something went wrong, and the trainer goes on.

    Attributes:
        incident: of which kind.
        reason: one sentence.
    """

    incident: IncidentKind
    reason: str


@dataclass(frozen=True, slots=True)
class Leapt:
    """The trainer shall go back to its last checkpoint. Its last word.

    Attributes:
        reason: which step leapt, in a sentence.
        passed: samples that are not to be learnt from again, see :class:`atoll.types.Assignment`.
    """

    reason: str
    passed: int


Message = Progress | Published | Trace | Ended | Broke | Damaged | Overcame | Leapt
_PLAIN: dict[str, type[Trace | Ended | Broke | Damaged | Leapt]] = {
    kind.__name__: kind for kind in (Trace, Ended, Broke, Damaged, Leapt)
}


class Speaker:
    """The trainer's end: appends one line a message."""

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / EVENTS

    def say(self, message: Message) -> None:
        """Append a message; it is in the file before this returns."""
        line = {"kind": type(message).__name__, **asdict(message)}
        with self._path.open("a", encoding="utf-8") as file:
            # A line of its own even where the disk was full in the middle of the one before.
            file.write(f"\n{json.dumps(line)}\n")


class Listener:
    """The agent's end: reads the lines that came since it last looked."""

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / EVENTS
        self._offset = 0

    def heard(self) -> Iterator[Message]:
        """The new messages; a line that is not finished yet waits for the next look."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                if not line.strip():
                    continue
                try:
                    message = _message(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    log.warning("a torn line is passed over", extra={"fields": {"line": str(line)}})
                    continue
                yield message


def trace_order(wish: TraceWish) -> str:
    """The line that orders a trace."""
    return f"{_TRACE} {wish.id} {wish.steps}\n"


def wish_of(line: str) -> TraceWish | None:
    """What such a line asks for; None of any other."""
    match line.split():
        case [word, wish, steps] if word == _TRACE:
            return TraceWish(wish, int(steps))
    return None


def write_assignment(work_dir: Path, assignment: Assignment, parallel: str = "") -> None:
    """Lay down what a trainer needs to begin.

    Args:
        work_dir: of the lease, on this node.
        assignment: what is to be trained.
        parallel: how the island's processes share it, in words of ``[island.parallel]``.
    """
    (work_dir / PARALLEL).write_text(parallel, encoding="utf-8")
    (work_dir / ASSIGNMENT).write_text(json.dumps(asdict(assignment)), encoding="utf-8")


def read_assignment(work_dir: Path) -> Assignment:
    """What the agent laid down."""
    tree = json.loads((work_dir / ASSIGNMENT).read_text(encoding="utf-8"))
    spec, checkpoint = tree["spec"], tree["checkpoint"]
    return Assignment(
        lease=Lease(**tree["lease"]),
        spec=JobSpec(**{**spec, "role": Role(spec["role"])}),
        checkpoint=CheckpointRef(**checkpoint) if checkpoint else None,
        restarts=tree["restarts"],
        passed=tree["passed"],
    )


def read_parallel(work_dir: Path) -> str:
    """How the island's processes share it, as the agent laid it down."""
    return (work_dir / PARALLEL).read_text(encoding="utf-8")


def _message(line: dict[str, Any]) -> Message:
    kind = line.pop("kind")
    if kind == "Published":
        return Published(CheckpointRef(**line["checkpoint"]), line["loss"])
    if kind == "Progress":
        return Progress(**{**line, "vitals": Vitals(**line["vitals"])})
    if kind == "Overcame":
        return Overcame(IncidentKind(line["incident"]), line["reason"])
    return _PLAIN[kind](**line)
