"""What the scripted SkyPilot knows: JSON in a folder, which its calls and its server share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class State:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def misfortunes(self) -> dict[str, Any]:
        """See scripted.let."""
        return self.read("script") or {}

    def home_of(self, cluster: str) -> Path:
        """In which its nodes live."""
        return self.folder / "nodes" / cluster

    def read(self, name: str) -> Any:
        """None if it is not there."""
        try:
            return json.loads(self._path(name).read_text())
        except FileNotFoundError:
            return None

    def rows(self, kind: str) -> list[dict[str, Any]]:
        names = sorted(path.stem for path in (self.folder / kind).glob("*.json"))
        return [row for name in names if (row := self.read(f"{kind}/{name}"))]

    def write(self, name: str, tree: Any) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(tree))
        temporary.replace(path)

    def change(self, name: str, **values: Any) -> None:
        self.write(name, {**self.read(name), **values})

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
