"""What is remembered here of SkyPilot's nodes: it forgets those that are gone, and why."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cluster import state_file

_RECORD = "skypilot.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a node.

    Attributes:
        key: what it was started under, as its cluster's label has it.
        request: of SkyPilot's server, that makes the cluster; "" if another machine has asked.
        reason: how it ended; "" if, as far as is known, it has not.
        cleared: whether it was cancelled.
    """

    key: str
    request: str = ""
    reason: str = ""
    cleared: bool = False


class Records:
    """One file for each island, and several threads that write them."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, which holds one for each island."""
        self._folder = folder
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        for path in folder.glob(f"*/{_RECORD}"):
            if tree := state_file.read(path):
                self._records[path.parent.name] = Record(**tree)

    def get(self, island: str) -> Record | None:
        """What is known of one."""
        with self._lock:
            return self._records.get(island)

    def all(self) -> dict[str, Record]:
        """What is known of each, by its island."""
        with self._lock:
            return dict(self._records)

    def living(self) -> dict[str, Record]:
        """Those that are not known to have ended."""
        return {island: record for island, record in self.all().items() if not record.reason}

    def put(self, island: str, record: Record) -> None:
        """Remember one that was just started, or found. Raises: OSError."""
        with self._lock:
            self._write(island, record)

    def close(self, island: str, reason: str, *, cleared: bool = False) -> None:
        """Remember its end, and keep to the reason that was found first. Raises: OSError."""
        with self._lock:
            before = self._records[island]
            reason, cleared = before.reason or reason, before.cleared or cleared
            self._write(island, replace(before, reason=reason, cleared=cleared))

    def _write(self, island: str, record: Record) -> None:
        home = self._folder / island
        home.mkdir(parents=True, exist_ok=True)
        state_file.write(home / _RECORD, asdict(record))
        self._records[island] = record
