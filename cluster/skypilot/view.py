"""What SkyPilot's server knows of a run: clusters, their jobs, and the requests that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.skypilot.command import Sky
from cluster.skypilot.task import ISLAND_LABEL, RUN_LABEL, cluster_name, run_id

JOB = 1  # the first of a cluster is its agent's
# Without what else it would look for at every question.
_CLUSTERS = ("status", "--no-show-managed-jobs", "--no-show-services", "--no-show-pools")
_REQUESTS = ("api", "status", "--all-status", "--limit", "all")


class View:
    """Asks about the islands of one run. Every call raises IslandError if there is no answer."""

    def __init__(self, sky: Sky, label: str) -> None:
        """Ask this program about the run of a label."""
        self._sky, self._label = sky, label

    def clusters(self, *options: str) -> dict[str, Any]:
        """The clusters of the run, by their island.

        Args:
            options: ``--refresh`` has SkyPilot ask the clouds what is left of each.
        """
        rows = self._sky.ask(*_CLUSTERS, *options)
        labelled = ((row["labels"] or {}, row) for row in rows)
        mine = run_id(self._label)
        return {
            labels[ISLAND_LABEL]: row for labels, row in labelled if labels.get(RUN_LABEL) == mine
        }

    def jobs(self, islands: Sequence[str]) -> dict[str, str | None]:
        """State of the agent's job on each; "" if it has none, None if nobody could look."""
        if not islands:
            return {}
        queues = self._sky.ask("queue", *(cluster_name(self._label, name) for name in islands))
        return {name: _state(queues.get(cluster_name(self._label, name))) for name in islands}

    def request_of(self, island: str) -> str:
        """The request that made its cluster, or does; "" if the server knows of none."""
        rows = self._sky.ask(*_REQUESTS, "--cluster", cluster_name(self._label, island))
        launches = {
            row["created_at"]: row["request_id"] for row in rows if row["name"] == "sky.launch"
        }
        return str(launches[max(launches)]) if launches else ""

    def launches(self, requests: Mapping[str, str]) -> dict[str, str]:
        """State of a request for each island; "" where there is none."""
        wanted = [request for request in requests.values() if request]
        rows = self._sky.ask(*_REQUESTS, *wanted) if wanted else ()
        states = {row["request_id"]: row["status"] for row in rows}
        return {island: states.get(request, "") for island, request in requests.items()}


def _state(queue: list[dict[str, Any]] | None) -> str | None:
    if queue is None:
        return None
    return next((job["status"] for job in queue if job["job_id"] == JOB), "")
