"""The job of an island: how many pods it has, which of them are made again, and when it ends."""

from __future__ import annotations

from typing import Any

from atoll.errors import BadInput
from cluster.exits import ORPHANED
from cluster.provider import NodeSpec

Tree = dict[str, Any]

LEFT = 6  # the exit code of an agent that was told to leave; 0 says that its island is dismissed
_TRIES = 3  # of a node that breaks, beyond the first
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as shells tell of programs
_FINAL = (BadInput.exit_code, ORPHANED, _NOT_EXECUTABLE, _NOT_FOUND)
_TAKEN = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def job_of(spec: NodeSpec, template: Tree) -> Tree:
    """The specification of a job with a pod for each node.

    Args:
        spec: what is to run.
        template: of the pods.
    """
    return {
        "parallelism": spec.num_nodes,
        "completions": spec.num_nodes,
        "completionMode": "Indexed",
        # Without a policy a job counts a pod as failed as soon as it is told to leave, and the rest
        # of its time would be taken from it.
        "podReplacementPolicy": "Failed",
        **(_ends_with_its_pod() if spec.num_nodes == 1 else _goes_on_without_some(spec)),
        "template": template,
    }


def _ends_with_its_pod() -> Tree:
    """There is one recovery loop, the orchestrator's: nothing is started again here."""
    return {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "FailJob", **_TAKEN}]},
    }


def _goes_on_without_some(spec: NodeSpec) -> Tree:
    """The loop is still the orchestrator's; only a pod among others comes back without it.

    One that was taken away, or left, does so as often as it takes; one that broke, a few times; one
    that would only end the same way again, never. Once too many are gone for good, the job ends. It
    also ends with the first agent that is dismissed, because then all of them are, those that are
    still to come included.
    """
    return {
        "backoffLimitPerIndex": _TRIES,
        "maxFailedIndexes": spec.num_nodes - spec.min_nodes,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", **_TAKEN},
                {"action": "Ignore", **_exited(LEFT)},
                {"action": "FailIndex", **_exited(*_FINAL)},
            ]
        },
        "successPolicy": {"rules": [{"succeededCount": 1}]},
    }


def _exited(*codes: int) -> Tree:
    return {"onExitCodes": {"operator": "In", "values": list(codes)}}
