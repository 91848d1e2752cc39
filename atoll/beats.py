"""What a training process tells of itself every second, in a file of its own that nobody waits for.

Its agent reads it. A process that is frozen, or held in a call that never lets go of the
interpreter, stops to beat; one that waits for another goes on beating, and says in what.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

EVERY_S = 1.0
_FOLDER = "beats"


class Phase(enum.StrEnum):
    """What a process is at; only in a step need all of them come along with each other."""

    BEGIN = "begins"
    STEP = "makes a step"
    GRID = "draws a grid"
    CHECKPOINT = "writes a checkpoint"
    END = "ends"


@dataclass(frozen=True, slots=True)
class Collective:
    """A call in which a process waits for others.

    Attributes:
        name: e.g. ``gloo:all_reduce``.
        group: whose processes take part; "" where that is not known.
        number: among the group's calls, from 1; 0 where that is not known.
    """

    name: str
    group: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """How a process stands.

    Attributes:
        rank: which of the island's it is.
        world: how many the island has.
        step: optimizer steps done.
        phase: what it is at.
        entered: how many collectives of each group it has come to.
        inside: those that it waits in.
        at: the line of Python its main thread is at.
    """

    rank: int
    world: int
    step: int
    phase: Phase
    entered: Mapping[str, int] = field(default_factory=dict)
    inside: tuple[Collective, ...] = ()
    at: str = ""


def write_beat(work_dir: Path, beat: Beat) -> None:
    """Replace a process's last beat. On a disk that is full it only shows that it lives.

    Raises:
        OSError: not even that.
    """
    path = work_dir / _FOLDER / f"rank-{beat.rank}.json"
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(exist_ok=True)
        part.write_text(json.dumps(asdict(beat)), encoding="utf-8")
        part.replace(path)
    except OSError:
        os.utime(path)


def read_beats(work_dir: Path) -> Iterator[tuple[Beat, int]]:
    """The last beat of each process, and a number that is another one after each beat."""
    for path in sorted((work_dir / _FOLDER).glob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            tree = json.loads(path.read_text(encoding="utf-8"))
            inside = tuple(Collective(**each) for each in tree.pop("inside"))
            beat = Beat(**{**tree, "phase": Phase(tree["phase"]), "inside": inside})
            yield beat, path.stat().st_mtime_ns
