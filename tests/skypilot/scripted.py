"""The scripted SkyPilot as tests hold it; what it does stands in program.py."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.skypilot import program
from tests.skypilot.program import end_node, write_to


def install(folder: Path) -> Path:
    """Make it a program, whose state lies in a folder; its path."""
    folder.mkdir()
    sky = folder / "sky"
    lines = f'#!/bin/sh\nSCRIPTED_SKY={folder} exec {sys.executable} {program.__file__} "$@"\n'
    sky.write_text(lines)
    sky.chmod(0o755)
    return sky


def let(folder: Path, **misfortunes: Any) -> None:
    """Script what goes wrong from now on, and nothing else."""
    write_to(folder / "script.json", misfortunes)


def clusters(folder: Path) -> list[dict[str, Any]]:
    """Those that are billed."""
    return [json.loads(path.read_text()) for path in (folder / "clusters").glob("*.json")]


def preempt(folder: Path, island: str, machine: str = "") -> None:
    """Take the node of an island back; SkyPilot learns of it when it refreshes its state.

    Args:
        folder: of the program.
        island: whose.
        machine: head, worker1 and so on, to take that one alone of several.
    """
    (row,) = (row for row in clusters(folder) if row["labels"]["atoll-island"] == island)
    row["lost" if machine else "preempted"] = True
    write_to(folder / "clusters" / f"{row['name']}.json", row)
    end_node(folder, f"{row['name']}/{machine}" if machine else row["name"])


def stop(folder: Path) -> None:
    """End whatever it started."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SCRIPTED_SKY") == str(folder):
                process.kill()
