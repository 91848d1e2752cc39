"""What all parts of the tests' cluster ask of objects, or write into them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Tree = dict[str, Any]

_TRACKED = "batch.kubernetes.io/job-tracking"


def owner_of(tree: Tree) -> Tree:
    """The first reference to an owner; empty if it belongs to nobody."""
    return next(iter(tree["metadata"].get("ownerReferences", ())), {})


def owned(tree: Tree, name: str, owner: Tree) -> Tree:
    """An object of an owner's."""
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


def track(pod: Tree) -> None:
    """Have it stay, even deleted, until its job has counted it."""
    pod["metadata"]["finalizers"] = [_TRACKED]


def is_tracked(pod: Tree) -> bool:
    return _TRACKED in pod["metadata"].get("finalizers", ())


def release(pod: Tree) -> None:
    """It was counted, or there is nobody who would."""
    pod["metadata"].pop("finalizers", None)


def phase_of(pod: Tree) -> str:
    return str(pod["status"]["phase"])


def condition_of(tree: Tree, kind: str) -> Tree:
    conditions = tree.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {})


def ends_of(tree: Tree) -> set[str]:
    """The conditions that say that a job or a JobSet has ended."""
    conditions = tree.get("status", {}).get("conditions", ())
    return {each["type"] for each in conditions} & {"Complete", "Completed", "Failed"}


def note(tree: Tree, kind: str, reason: str, message: str, *, status: str = "True") -> None:
    """Add a condition, unless there is one of its kind."""
    conditions = tree.setdefault("status", {}).setdefault("conditions", [])
    if not condition_of(tree, kind):
        said = {"type": kind, "status": status, "reason": reason, "message": message}
        conditions.append({**said, "lastTransitionTime": now()})


def show(pod: Tree, state: Tree) -> None:
    """Say how the container of a pod is."""
    spec = pod["spec"]["containers"][0]
    shown = {"name": spec["name"], "image": spec["image"], "imageID": "", "restartCount": 0}
    shown |= {"ready": "running" in state, "state": state}
    pod["status"]["containerStatuses"] = [shown]


def is_leaving(tree: Tree) -> bool:
    return "deletionTimestamp" in tree["metadata"]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
