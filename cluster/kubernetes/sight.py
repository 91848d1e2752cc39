"""What a cluster's objects tell of an island: whether it lives, what it waits for, how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.kubernetes.pods import ENDED, phase, states
from cluster.local import ending

Tree = dict[str, Any]

_SIGNALS = 128  # what shells, and kubelets, add to the number of a signal
# What a container waits for that does not come by itself. The first failure to pull an image is
# not among them: the kubelet tries once more before it speaks of backing off.
_STUCK = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
_TAKEN = {
    "DeletionByPodGC": "its node is gone",
    "DeletionByTaintManager": "its node was tainted",
    "EvictionByEvictionAPI": "it was evicted",
    "PreemptionByScheduler": "it was preempted",
    "TerminationByKubelet": "its node ended it",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """All that there is of one island.

    Attributes:
        jobset: empty once it is deleted, while its pods still end.
        jobs: of it; none, where its pods tell all.
        pods: of it, the latest of each node.
        warnings: why the next job or pod cannot be made, in words.
    """

    jobset: Tree
    jobs: Sequence[Tree]
    pods: Sequence[Tree]
    warnings: Sequence[str] = ()

    @property
    def is_alive(self) -> bool:
        """Whether something of it runs, or may still come to run."""
        if self.obstacle:
            return False
        return self._has_living_pods or not (self._is_finished or self._is_deleted)

    @property
    def is_waiting(self) -> bool:
        """Whether none of its pods has begun."""
        return self.is_alive and all(phase(pod) == "Pending" for pod in self.pods)

    @property
    def is_leaving(self) -> bool:
        """Whether its JobSet is being deleted, with all that is left of it."""
        return "deletionTimestamp" in self.jobset.get("metadata", {})

    @property
    def obstacle(self) -> str:
        """Why nothing of it can run, in words; "" if something may, or does."""
        if not (self.pods or self._is_finished or self._is_deleted):
            return next((f"its pod cannot be made: {words}" for words in self.warnings), "")
        if any(phase(pod) == "Running" for pod in self.pods):
            return ""
        for waiting in self._containers("waiting"):
            if waiting.get("reason") in _STUCK:
                return f"its container does not start: {_words(waiting)}"
        return ""

    @property
    def waits_for(self) -> str:
        """What it waits for, in words; "" if nobody says."""
        for condition in self._conditions("PodScheduled", "False"):
            return f"a node: {condition.get('message', '')}"
        for waiting in self._containers("waiting"):
            return _words(waiting)
        return next((f"a pod: {words}" for words in self.warnings), "")

    @property
    def notice(self) -> str:
        """That it is taken away, with each of its pods, and why, in words; "" if it is not."""
        taken = list(self._conditions("DisruptionTarget", "True"))
        if not taken or len(taken) < len(self.pods):
            return ""
        reason, message = taken[0].get("reason", ""), taken[0].get("message", "")
        return _joined(_TAKEN.get(reason, f"its pod was taken ({reason})"), message)

    @property
    def end(self) -> str:
        """How it ended, in words."""
        if self._is_deleted:
            return "its JobSet was deleted"
        if endings := dict.fromkeys(map(_ending, self._containers("terminated"))):
            return "; ".join(endings)
        for status in (pod.get("status", {}) for pod in self.pods):
            if status.get("reason"):
                return _joined(f"its pod failed ({status['reason']})", status.get("message", ""))
        for job in self.jobs:
            for condition in _true(job):
                if condition["type"] == "Failed":
                    return f"its job failed: {condition.get('message') or condition.get('reason')}"
                if condition["type"] == "Complete":
                    return ending(0)
        return "its JobSet has ended"

    @property
    def _is_deleted(self) -> bool:
        return self.is_leaving or not self.jobset

    @property
    def _is_finished(self) -> bool:
        return any(each["type"] in {"Completed", "Failed"} for each in _true(self.jobset))

    @property
    def _has_living_pods(self) -> bool:
        return any(phase(pod) not in ENDED for pod in self.pods)

    def _conditions(self, kind: str, status: str) -> Iterator[Tree]:
        for pod in self.pods:
            for condition in pod.get("status", {}).get("conditions", ()):
                if condition["type"] == kind and condition["status"] == status:
                    yield condition

    def _containers(self, state: str) -> Iterator[Tree]:
        for pod in self.pods:
            yield from states(pod, state)


def _true(tree: Tree) -> Iterator[Tree]:
    """The conditions that hold of a job or a JobSet."""
    for condition in tree.get("status", {}).get("conditions", ()):
        if condition["status"] == "True":
            yield condition


def _ending(terminated: Tree) -> str:
    code, reason = terminated["exitCode"], terminated.get("reason", "")
    if reason == "OOMKilled":
        return "it ran out of memory"
    if reason not in {"", "Completed", "Error"}:
        return _joined(f"its container ended ({reason})", terminated.get("message", ""))
    return ending(_SIGNALS - code if code > _SIGNALS else code)


def _words(waiting: Tree) -> str:
    return _joined(waiting.get("reason", ""), waiting.get("message", ""))


def _joined(words: str, message: str) -> str:
    return f"{words}: {message}" if message else words
