"""What the dashboard for Grafana asks Prometheus for."""

from __future__ import annotations

import json
import re
from pathlib import Path

_PAGE = Path(__file__).parents[1] / "docs" / "grafana.json"


def asked_by_grafana() -> tuple[set[str], set[str]]:
    """The metrics of the orchestrator, and those of the service, which have a row of their own."""
    asked: list[set[str]] = [set()]
    for panel in json.loads(_PAGE.read_text())["panels"]:
        if panel["type"] == "row":
            asked.append(set())
            continue
        queries = [target["expr"] for target in panel["targets"]]
        assert queries, panel["title"]
        asked[-1].update(name for query in queries for name in re.findall(r"atoll_\w+", query))
    of_orchestrator, of_service = asked
    return of_orchestrator, of_service
