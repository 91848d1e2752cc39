"""What the controller of JobSets does, and the garbage collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kubernetes.objects import ends_of, is_leaving, note, owned, owner_of

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
    for kind, below in (("jobsets", "jobs"), ("jobs", "pods")):
        for name, tree in list(cluster.of(kind).items()):
            if is_leaving(tree):
                mine = cluster.owned(below, tree)
                for each in mine:
                    cluster.delete(below, each["metadata"]["name"], None, "Foreground")
                if not mine:
                    del cluster.of(kind)[name]


def keep_jobset(cluster: Cluster, jobset: Tree) -> None:
    """Make its jobs; end with them."""
    if is_leaving(jobset) or ends_of(jobset):
        return
    for replicated in jobset["spec"]["replicatedJobs"]:
        for number in range(replicated.get("replicas", 1)):
            name = f"{jobset['metadata']['name']}-{replicated['name']}-{number}"
            if name not in cluster.of("jobs"):
                tree = {"apiVersion": "batch/v1", "kind": "Job", **replicated["template"]}
                cluster.create("jobs", owned(tree, name, jobset))
    jobs = cluster.owned("jobs", jobset)
    failed = [job["metadata"]["name"] for job in jobs if "Failed" in ends_of(job)]
    if failed:
        words = f"jobset failed due to one or more job failures (first failed job: {failed[0]})"
        jobset["status"] = {"terminalState": "Failed", "restarts": 0}
        note(jobset, "Failed", "FailedJobs", words)
    elif all(ends_of(job) for job in jobs):
        jobset["status"] = {"terminalState": "Completed", "restarts": 0}
        note(jobset, "Completed", "AllJobsCompleted", "jobset completed successfully")
