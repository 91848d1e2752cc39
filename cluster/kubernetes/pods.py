"""Which pods of an island count, where others came in place of some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cluster.kubernetes.job import LEFT

Tree = dict[str, Any]

ENDED = {"Succeeded", "Failed"}
_NUMBER = "batch.kubernetes.io/job-completion-index"


def phase(pod: Tree) -> str:
    """Pending, Running, or one of those that have ended."""
    return str(pod.get("status", {}).get("phase", "Pending"))


def states(pod: Tree, state: str) -> Iterator[Tree]:
    """What is said of those of its containers that are waiting, running or terminated."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if state in container.get("state", {}):
            yield container["state"][state]


def latest(pods: Iterable[Tree]) -> Sequence[Tree]:
    """Of each of an island's nodes the latest pod; first those that broke, which tell the most."""
    found = {_number(pod): pod for pod in sorted(pods, key=_came)}
    return sorted(found.values(), key=_broke, reverse=True)


def _number(pod: Tree) -> str:
    return str(pod["metadata"].get("annotations", {}).get(_NUMBER, ""))


def _came(pod: Tree) -> tuple[bool, str]:
    """None comes before the one in whose place it comes has ended."""
    return phase(pod) not in ENDED, pod["metadata"].get("creationTimestamp", "")


def _broke(pod: Tree) -> bool:
    """Whether it has ended, and neither well nor because it was told to."""
    return phase(pod) == "Failed" and LEFT not in {
        it["exitCode"] for it in states(pod, "terminated")
    }
