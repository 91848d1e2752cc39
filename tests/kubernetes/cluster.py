"""A cluster in one process: what its API server keeps, and who works on that.

Nothing enters it that the published schemas do not allow.
"""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

from tests.kubernetes import controllers
from tests.kubernetes.jobs import Jobs
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.objects import is_leaving, note, now
from tests.kubernetes.schemas import BATCH, CORE, problems

Tree = dict[str, Any]

KINDS = {
    "jobsets": "JobSet",
    "jobs": f"{BATCH}Job",
    "pods": f"{CORE}Pod",
    "secrets": f"{CORE}Secret",
    "events": f"{CORE}Event",
}
_TICK_S = 0.05


class Invalid(Exception):
    """An object that no server takes."""


class Exists(Exception):
    """The name is taken."""


class Full(Exception):
    """The quota is used up."""


class Cluster:
    """One namespace, and one node with room for everything.

    Attributes:
        kubelet: of the node.
        pod_quota: pods at once, at most; None for any number.
        lock: guards all objects.
    """

    def __init__(self, folder: Path, namespace: str = "atoll") -> None:
        self.namespace = namespace
        self.kubelet = Kubelet(self, folder)
        self.pod_quota: int | None = None
        self._jobs = Jobs(self)
        self.lock = threading.RLock()
        self._objects: dict[str, dict[str, Tree]] = {kind: {} for kind in KINDS}
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self.kubelet.stop()

    def of(self, kind: str) -> dict[str, Tree]:
        """The objects of a kind, by name."""
        return self._objects[kind]

    def owned(self, kind: str, owner: Tree) -> list[Tree]:
        uid = owner["metadata"]["uid"]
        return [
            tree
            for tree in self.of(kind).values()
            if any(each["uid"] == uid for each in tree["metadata"].get("ownerReferences", ()))
        ]

    def create(self, kind: str, tree: Tree, *, dry: bool = False) -> Tree:
        with self.lock:
            if found := problems(tree, KINDS[kind]):
                raise Invalid("; ".join(found))
            name = tree["metadata"]["name"]
            if name in self.of(kind):
                raise Exists(name)
            used = len(self.of("pods"))
            if kind == "pods" and self.pod_quota is not None and used >= self.pod_quota:
                room = f"requested: pods=1, used: pods={used}, limited: pods={self.pod_quota}"
                raise Full(f'pods "{name}" is forbidden: exceeded quota: lab, {room}')
            meta = {
                **tree["metadata"],
                "namespace": self.namespace,
                "uid": f"uid-{next(self._numbers)}",
                "creationTimestamp": now(),
            }
            made = {**tree, "metadata": meta}
            if kind == "pods":
                made["status"] = {"phase": "Pending"}
            if not dry:
                self.of(kind)[name] = made
            return made

    def delete(self, kind: str, name: str, grace_s: int | None, policy: str) -> None:
        with self.lock:
            tree = self.of(kind)[name]
            if kind == "pods":
                self.kubelet.delete(tree, grace_s)
            elif policy == "Foreground" and not is_leaving(tree):
                tree["metadata"] |= {
                    "deletionTimestamp": now(),
                    "finalizers": ["foregroundDeletion"],
                }
            elif policy != "Foreground":
                del self.of(kind)[name]

    def disrupt(self, pod: str, reason: str, message: str) -> None:
        """Take a pod away, with the notice and the time that Kubernetes gives."""
        with self.lock:
            tree = self.of("pods")[pod]
            note(tree, "DisruptionTarget", reason, message)
            self.kubelet.delete(tree, None)

    def _run(self) -> None:
        while not self._stopped.wait(_TICK_S):
            with self.lock:
                controllers.collect(self)
                for jobset in list(self.of("jobsets").values()):
                    controllers.keep_jobset(self, jobset)
                for job in list(self.of("jobs").values()):
                    self._jobs.keep(job)
                for pod in list(self.of("pods").values()):
                    self.kubelet.keep(pod)
