"""A run as it goes on, for programs: JSON lines."""

from __future__ import annotations

import json
import sys
from typing import Any

from atoll.types import Event
from atoll.views import FleetView
from orchestrator.cli.live import AtOnce
from orchestrator.cli.rows import island_row, job_row, server_row

_PASSING = {"lease_left_s", "silent_s", "lasts_s"}  # no change by itself


class Changes(AtOnce):
    """One JSON object on a line for each event, and each change of a job, island or server."""

    def __init__(self) -> None:
        self._stood: dict[str, dict[str, Any]] = {}

    def tell(self, words: str) -> None:
        """See :class:`orchestrator.cli.live.Watch`."""
        _print({"note": words})

    def happened(self, event: Event) -> None:
        """See :class:`orchestrator.cli.overview.Sight`."""
        _print({"event": {name: getattr(event, name) for name in Event.__slots__}})

    def show(self, view: FleetView) -> None:
        """See :class:`orchestrator.cli.live.Watch`."""
        for job in view.jobs:
            self._news("job", job_row(job))
        for island in view.islands:
            self._news("island", island_row(island))
        for server in view.servers:
            self._news("server", server_row(server))
        here = {f"server {server.address}" for server in view.servers}
        for name in [name for name in self._stood if name.startswith("server ")]:
            if name not in here:
                del self._stood[name]
                _print({"server": {"server": name.removeprefix("server "), "left": True}})

    def _news(self, what: str, row: dict[str, Any]) -> None:
        lasting = {name: value for name, value in row.items() if name not in _PASSING}
        if self._stood.get(f"{what} {row[what]}") != lasting:
            self._stood[f"{what} {row[what]}"] = lasting
            _print({what: row})


def _print(tree: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(tree)}\n")
    sys.stdout.flush()
