"""What the controllers of JobSets and jobs do, and the garbage collector."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from tests.kubernetes.objects import condition_of, ends_of, is_leaving, note, owner_of

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster

Tree = dict[str, Any]


def collect(cluster: Cluster) -> None:
    """What belongs to nobody any more goes, and what leaves goes after all that it owns."""
    alive = {
        tree["metadata"]["uid"]
        for kind in ("jobsets", "jobs")
        for tree in cluster.of(kind).values()
    }
    for kind in ("jobs", "pods", "secrets"):
        for name, tree in list(cluster.of(kind).items()):
            if owner_of(tree) and owner_of(tree)["uid"] not in alive:
                cluster.delete(kind, name, None, "Background")
    for owner, owned in (("jobsets", "jobs"), ("jobs", "pods")):
        for name, tree in list(cluster.of(owner).items()):
            if is_leaving(tree):
                mine = cluster.owned(owned, tree)
                for each in mine:
                    cluster.delete(owned, each["metadata"]["name"], None, "Foreground")
                if not mine:
                    del cluster.of(owner)[name]


def keep_jobset(cluster: Cluster, jobset: Tree) -> None:
    """Make its jobs; end with them."""
    if is_leaving(jobset) or ends_of(jobset):
        return
    for replicated in jobset["spec"]["replicatedJobs"]:
        for number in range(replicated.get("replicas", 1)):
            name = f"{jobset['metadata']['name']}-{replicated['name']}-{number}"
            if name not in cluster.of("jobs"):
                tree = {"apiVersion": "batch/v1", "kind": "Job", **replicated["template"]}
                cluster.create("jobs", _owned(tree, name, jobset))
    jobs = cluster.owned("jobs", jobset)
    failed = [job["metadata"]["name"] for job in jobs if "Failed" in ends_of(job)]
    if failed:
        words = f"jobset failed due to one or more job failures (first failed job: {failed[0]})"
        jobset["status"] = {"terminalState": "Failed", "restarts": 0}
        note(jobset, "Failed", "FailedJobs", words)
    elif all(ends_of(job) for job in jobs):
        jobset["status"] = {"terminalState": "Completed", "restarts": 0}
        note(jobset, "Completed", "AllJobsCompleted", "jobset completed successfully")


def keep_job(cluster: Cluster, job: Tree) -> None:
    """Make its pod, once; end with it, which is when the pod's container has ended."""
    if is_leaving(job) or ends_of(job):
        return
    pods = cluster.owned("pods", job)
    if not pods:
        _make_pod(cluster, job)
    for pod in pods:
        name, phase = pod["metadata"]["name"], pod["status"]["phase"]
        if phase == "Succeeded":
            note(job, "Complete", "CompletionsReached", "Reached expected number of pods")
        if phase == "Failed" and condition_of(pod, "DisruptionTarget"):
            words = f"Pod {cluster.namespace}/{name} has condition DisruptionTarget matching"
            note(job, "Failed", "PodFailurePolicy", f"{words} FailJob rule at index 0")
        elif phase == "Failed":
            words = "Job has reached the specified backoff limit"
            note(job, "Failed", "BackoffLimitExceeded", words)


def _make_pod(cluster: Cluster, job: Tree) -> None:
    from tests.kubernetes.cluster import Full

    name = f"{job['metadata']['name']}-0-{secrets.token_hex(3)[:5]}"
    tree = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    try:
        cluster.create("pods", _owned(tree, name, job))
    except Full as error:
        about = {"kind": "Job", "name": job["metadata"]["name"]}
        event = {"metadata": {"name": f"{name}-full"}, "involvedObject": about, "type": "Warning"}
        if not any(each["involvedObject"] == about for each in cluster.of("events").values()):
            why = {"reason": "FailedCreate", "message": f"Error creating: {error}"}
            cluster.create("events", event | why)


def _owned(tree: Tree, name: str, owner: Tree) -> Tree:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    meta = {**tree["metadata"], "name": name, "ownerReferences": [reference]}
    return {**tree, "metadata": meta}
