"""Where a trainer stands among those of its island's other nodes: files in the folder of its work.

An agent lays down the place. Where the trainers meet is written by the first of them on the node
that leads, and by the agents of all others, once they have heard of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_PLACE = "node.json"
_MEETING = "meeting.json"


@dataclass(frozen=True, slots=True)
class NodePlace:
    """A node among those that train together.

    Attributes:
        rank: which it is; 0 leads.
        num: how many there are.
        address: at which the others reach it; "" for one alone.
    """

    rank: int = 0
    num: int = 1
    address: str = ""


def write_place(folder: Path, place: NodePlace) -> None:
    """Lay down where a trainer stands."""
    (folder / _PLACE).write_text(json.dumps(asdict(place)), encoding="utf-8")


def read_place(folder: Path) -> NodePlace:
    """Where a trainer stands; alone if nothing was laid down."""
    path = folder / _PLACE
    return (
        NodePlace(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else NodePlace()
    )


def write_meeting(folder: Path, address: str, port: int) -> None:
    """Tell where the trainers meet; seen whole or not at all."""
    unfinished = folder / f"{_MEETING}.tmp"
    unfinished.write_text(json.dumps([address, port]), encoding="utf-8")
    unfinished.replace(folder / _MEETING)


def read_meeting(folder: Path) -> tuple[str, int] | None:
    """Address and port; None while nobody has told."""
    path = folder / _MEETING
    if not path.exists():
        return None
    address, port = json.loads(path.read_text(encoding="utf-8"))
    return address, port
