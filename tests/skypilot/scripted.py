"""The scripted SkyPilot as tests hold it; what it does stands in program.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.skypilot import nodes
from tests.skypilot.state import State

_ROOT = Path(__file__).parents[2]
_PROGRAM = """#!/bin/sh
SCRIPTED_SKY={folder} PYTHONPATH={root}${{PYTHONPATH:+:$PYTHONPATH}} \\
exec {python} -P -m tests.skypilot.program "$@"
"""


def install(folder: Path) -> Path:
    """Make it a program, whose state lies in a folder; its path."""
    folder.mkdir()
    sky = folder / "sky"
    sky.write_text(_PROGRAM.format(folder=folder, root=_ROOT, python=sys.executable))
    sky.chmod(0o755)
    return sky


def let(folder: Path, **misfortunes: Any) -> None:
    """Script what goes wrong from now on, and nothing else.

    Args:
        folder: of the program.
        misfortunes:
            no_cloud: there are credentials for none.
            refuse: what a place says instead of making a node, by "aws/us-east-1 spot" and so on.
            held: launches wait until this is false.
            unprepared: the node is there, but SkyPilot cannot set it up.
            blind: commands that cannot look into nodes.
            garbage: what a command prints instead of its answer.
            slow_s: seconds until a command answers.
            undying: how many times `down` fails.
    """
    State(folder).write("script", misfortunes)


def clusters(folder: Path) -> list[dict[str, Any]]:
    """Those that are billed."""
    return State(folder).rows("clusters")


def preempt(folder: Path, island: str, machine: str = "") -> None:
    """Take the node of an island back; SkyPilot learns of it when it refreshes its state.

    Args:
        folder: of the program.
        island: whose.
        machine: head, worker1 and so on, to take that one alone of several.
    """
    (row,) = (row for row in clusters(folder) if row["labels"]["atoll-island"] == island)
    state = State(folder)
    state.change(f"clusters/{row['name']}", **{"lost" if machine else "preempted": True})
    nodes.end(state.home_of(row["name"]) / machine)


def stop(folder: Path) -> None:
    """End whatever it started."""
    nodes.kill(lambda environment: environment.get("SCRIPTED_SKY") == str(folder))
