"""Small files in which processes of one machine leave word for later ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, tree: dict[str, Any]) -> None:
    """Write JSON, whole or not at all, even if the machine loses power. Raises: OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(tree, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> dict[str, Any] | None:
    """What was written; None if nothing was, or if it cannot be understood any more."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None
