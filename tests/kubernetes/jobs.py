"""What the controller of jobs does for those with numbered pods.

A pod counts once, when it has ended; until then it cannot vanish, even if it is deleted. One that
is to be made again stays until then, because the next one is told how often its number has failed.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from tests.kubernetes.objects import (
    condition_of,
    ends_of,
    is_leaving,
    is_tracked,
    note,
    owned,
    phase_of,
    release,
    track,
)

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster

Tree = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"
_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
_PAUSE_S = 0.02  # after the first failure of a number, then twice as long; 10 s in earnest
_OVER = {"Succeeded", "Failed"}


class Jobs:
    """The controller, and when it saw pods fail."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._failed_at: dict[str, float] = {}  # by the uid of the pod

    def keep(self, job: Tree) -> None:
        """One step on the way to its end."""
        pods = self._cluster.owned("pods", job)
        if not is_leaving(job) and not ends_of(job):
            self._count(job, [pod for pod in pods if is_tracked(pod) and phase_of(pod) in _OVER])
            _judge(job)
            if target := _target(job):
                self._finish(job, target, [pod for pod in pods if phase_of(pod) not in _OVER])
            else:
                self._fill(job, pods)
        if is_leaving(job) or ends_of(job):
            for pod in pods:
                release(pod)

    def _count(self, job: Tree, ended: list[Tree]) -> None:
        """What has ended since; what is to be made again is left for later."""
        for pod in ended:
            if phase_of(pod) == "Succeeded":
                _add(job, "completedIndexes", _index(pod))
                release(pod)
                continue
            self._failed_at.setdefault(pod["metadata"]["uid"], time.monotonic())
            number, rule = _rule(job, pod)
            action = rule.get("action", "Count")
            most = job["spec"].get("backoffLimitPerIndex")
            if action == "FailJob":
                name = f"{self._cluster.namespace}/{pod['metadata']['name']}"
                words = f"Pod {name} has condition DisruptionTarget matching"
                _aim(job, "PodFailurePolicy", f"{words} FailJob rule at index {number}")
            elif action == "FailIndex" or (most is not None and _counts(job, pod)[0] > most):
                _add(job, "failedIndexes", _index(pod))
                release(pod)
            elif action == "Count" and most is None:
                assert job["spec"]["backoffLimit"] == 0
                _aim(job, "BackoffLimitExceeded", "Job has reached the specified backoff limit")

    def _finish(self, job: Tree, target: Tree, living: list[Tree]) -> None:
        """Have the rest leave, in the time they have; only then it has ended."""
        for pod in living:
            self._cluster.delete("pods", pod["metadata"]["name"], None, "Background")
        if not living:
            kind = "Failed" if target["type"] == "FailureTarget" else "Complete"
            note(job, kind, target["reason"], target["message"])

    def _fill(self, job: Tree, pods: list[Tree]) -> None:
        done = {*_indexes(job, "completedIndexes"), *_indexes(job, "failedIndexes")}
        living = {_index(pod) for pod in pods if phase_of(pod) not in _OVER}
        for index in range(job["spec"]["completions"]):
            if index in done | living:
                continue
            last = next((pod for pod in pods if is_tracked(pod) and _index(pod) == index), None)
            counts = _counts(job, last) if last else (0, 0)
            if last and time.monotonic() < self._again_at(last, sum(counts)):
                continue
            if self._make(job, index, counts) and last:
                release(last)

    def _again_at(self, pod: Tree, times: int) -> float:
        return self._failed_at[pod["metadata"]["uid"]] + _PAUSE_S * 2 ** (times - 1)

    def _make(self, job: Tree, index: int, counts: tuple[int, int]) -> bool:
        """Whether there was room for one more."""
        from tests.kubernetes.cluster import Full

        template = job["spec"]["template"]
        name = f"{job['metadata']['name']}-{index}-{secrets.token_hex(3)[:5]}"
        numbers = {INDEX: str(index), _FAILURES: str(counts[0]), _IGNORED: str(counts[1])}
        labels = template["metadata"]["labels"] | {INDEX: str(index)}
        notes = template["metadata"]["annotations"] | numbers
        (container,) = template["spec"]["containers"]
        where = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
        told = [*container.get("env", ()), {"name": "JOB_COMPLETION_INDEX", "valueFrom": where}]
        tree = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": labels, "annotations": notes},
            "spec": template["spec"] | {"containers": [container | {"env": told}]},
        }
        track(tree)
        try:
            self._cluster.create("pods", owned(tree, name, job))
        except Full as error:
            self._warn(job, name, f"Error creating: {error}")
            return False
        return True

    def _warn(self, job: Tree, name: str, words: str) -> None:
        about = {"kind": "Job", "name": job["metadata"]["name"]}
        event = {"metadata": {"name": f"{name}-full"}, "involvedObject": about, "type": "Warning"}
        known = self._cluster.of("events").values()
        if not any(each["involvedObject"] == about for each in known):
            self._cluster.create("events", event | {"reason": "FailedCreate", "message": words})


def _judge(job: Tree) -> None:
    """Whether the numbers that are done decide how it ends."""
    spec = job["spec"]
    failed, done = _indexes(job, "failedIndexes"), _indexes(job, "completedIndexes")
    rules = spec.get("successPolicy", {}).get("rules", ())
    if len(failed) > spec.get("maxFailedIndexes", spec["completions"]):
        words = "Job has exceeded the specified maximal number of failed indexes"
        _aim(job, "MaxFailedIndexesExceeded", words)
    elif failed and len(failed | done) == spec["completions"]:
        _aim(job, "FailedIndexes", "Job has failed indexes")
    elif any(len(done) >= rule["succeededCount"] for rule in rules):
        _aim(job, "SuccessPolicy", "Matched rules at index 0", kind="SuccessCriteriaMet")
    elif len(done) == spec["completions"]:
        words = "Reached expected number of succeeded pods"
        _aim(job, "CompletionsReached", words, kind="SuccessCriteriaMet")


def _aim(job: Tree, reason: str, words: str, *, kind: str = "FailureTarget") -> None:
    """Say how it is to end, unless that is decided."""
    if not _target(job):
        note(job, kind, reason, words)


def _target(job: Tree) -> Tree:
    return condition_of(job, "FailureTarget") or condition_of(job, "SuccessCriteriaMet")


def _rule(job: Tree, pod: Tree) -> tuple[int, Tree]:
    """The first rule of the policy that fits a failed pod, and its place; an empty one for none."""
    ended = [
        each["state"]["terminated"]["exitCode"]
        for each in pod["status"].get("containerStatuses", ())
        if "terminated" in each["state"]
    ]
    for number, rule in enumerate(job["spec"]["podFailurePolicy"]["rules"]):
        conditions = (each["type"] for each in rule.get("onPodConditions", ()))
        codes = rule.get("onExitCodes", {"operator": "In", "values": []})
        assert codes["operator"] == "In"
        if any(condition_of(pod, kind) for kind in conditions) or {*ended} & {*codes["values"]}:
            return number, rule
    return -1, {}


def _counts(job: Tree, pod: Tree) -> tuple[int, int]:
    """How often the number of a failed pod has failed, with it: what counts, and what does not."""
    notes = pod["metadata"]["annotations"]
    counted, ignored = int(notes[_FAILURES]), int(notes[_IGNORED])
    is_ignored = _rule(job, pod)[1].get("action") == "Ignore"
    return (counted, ignored + 1) if is_ignored else (counted + 1, ignored)


def _index(pod: Tree) -> int:
    return int(pod["metadata"]["annotations"][INDEX])


def _indexes(job: Tree, field: str) -> set[int]:
    return {int(each) for each in job.get("status", {}).get(field, "").split(",") if each}


def _add(job: Tree, field: str, index: int) -> None:
    indexes = _indexes(job, field) | {index}
    job.setdefault("status", {})[field] = ",".join(map(str, sorted(indexes)))
