"""What scheduler and kubelet do with pods."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kubernetes.container import Container
from tests.kubernetes.objects import is_leaving, is_tracked, note, now, owner_of, show

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster

Tree = dict[str, Any]


class Kubelet:
    """One node.

    Attributes:
        room: for so many containers at once.
        no_room: why it takes no more, in words.
        lost_images: those that no registry has.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.room = 100
        self.no_room = "0/1 nodes are available: 1 Too many pods."
        self.lost_images: set[str] = set()
        self._cluster = cluster
        self._folder = folder
        self._containers: dict[str, Container] = {}  # by the uid of their pod
        self._until: dict[str, float] = {}  # when those that leave are killed

    def stop(self) -> None:
        for container in self._containers.values():
            container.remove()

    def keep(self, pod: Tree) -> None:
        """One step on the way from pending to its end."""
        uid, status = pod["metadata"]["uid"], pod["status"]
        if status["phase"] == "Pending" and not is_leaving(pod):
            self._begin(pod)
        elif status["phase"] == "Pending":
            status["phase"] = "Failed"
        elif status["phase"] == "Running":
            code = self._containers[uid].poll()
            if code is not None:
                _end(pod, code, "Error" if code else "Completed")
            elif time.monotonic() > self._until.get(uid, float("inf")):
                self._containers[uid].kill()
        elif is_leaving(pod) and not self._is_kept(pod):
            self._forget(pod)

    def delete(self, pod: Tree, grace_s: int | None) -> None:
        """Tell it to end, in the time it asked for or another."""
        meta = pod["metadata"]
        if grace_s == 0:
            self._forget(pod)
        elif not is_leaving(pod):
            grace_s = pod["spec"]["terminationGracePeriodSeconds"] if grace_s is None else grace_s
            meta |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": grace_s}
            self._until[meta["uid"]] = time.monotonic() + grace_s
            if pod["status"]["phase"] == "Running":
                self.signal(pod, signal.SIGTERM)

    def signal(self, pod: Tree, number: int) -> None:
        """To the first process of its container, as from a kernel."""
        self._containers[pod["metadata"]["uid"]].signal(number)

    def kill(self, pod: Tree, code: int, reason: str) -> None:
        """End its container as the kernel does, or a node's shutdown."""
        self._containers[pod["metadata"]["uid"]].kill()
        _end(pod, code, reason)

    def log(self, pod: Tree, num_lines: int) -> str:
        """Raises: KeyError, its container has not begun."""
        lines = self._containers[pod["metadata"]["uid"]].log.read_text().splitlines(keepends=True)
        return "".join(lines[-num_lines:])

    def _begin(self, pod: Tree) -> None:
        status, image = pod["status"], pod["spec"]["containers"][0]["image"]
        status["conditions"] = []
        if self._num_running >= self.room:
            note(pod, "PodScheduled", "Unschedulable", self.no_room, status="False")
            return
        if image in self.lost_images:
            words = f'Back-off pulling image "{image}"'
            show(pod, {"waiting": {"reason": "ImagePullBackOff", "message": words}})
            return
        folder = self._folder / pod["metadata"]["name"]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            container = Container(pod, self._cluster.of("secrets"), folder)
        except KeyError:  # it waits for its secret
            show(pod, {"waiting": {"reason": "ContainerCreating"}})
        except OSError as error:
            _end(pod, 128, "StartError", str(error))
        else:
            self._containers[pod["metadata"]["uid"]] = container
            status |= {"phase": "Running", "startTime": now()}
            show(pod, {"running": {"startedAt": now()}})

    def _is_kept(self, pod: Tree) -> bool:
        """Whether its job is there, and has not counted it yet."""
        return is_tracked(pod) and owner_of(pod)["name"] in self._cluster.of("jobs")

    @property
    def _num_running(self) -> int:
        return sum(each.poll() is None for each in self._containers.values())

    def _forget(self, pod: Tree) -> None:
        container = self._containers.pop(pod["metadata"]["uid"], None)
        if container:
            container.remove()
        del self._cluster.of("pods")[pod["metadata"]["name"]]


def _end(pod: Tree, code: int, reason: str, message: str = "") -> None:
    pod["status"]["phase"] = "Failed" if code else "Succeeded"
    words = {"message": message} if message else {}
    show(pod, {"terminated": {"exitCode": code, "reason": reason, **words}})
