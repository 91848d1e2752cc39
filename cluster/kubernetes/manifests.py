"""What an island asks of Kubernetes: one JobSet, and a Secret with what lets it join.

A pod that is taken away is told by SIGTERM and has the time for a last checkpoint; until it has
ended its job is not over.
"""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Sequence
from typing import Any

from atoll.config import Config
from cluster.kubernetes.job import LEFT, job_of
from cluster.kubernetes.names import ISLAND, KEY, LABEL, Names
from cluster.provider import NodeSpec

Tree = dict[str, Any]

CONTAINER = "agent"
_REPLICATED = "node"  # the one kind of job an island has
_WORK, _JOIN = "/atoll/work", "/atoll/join"
_TOKEN = "token"  # noqa: S105 - the name of its file
_MARGIN_S = 30  # beyond the time for a last checkpoint
_REMEMBERED_S = 24 * 3600  # an ended JobSet, where no orchestrator is left to delete it


def jobset_of(config: Config, spec: NodeSpec, key: str) -> Tree:
    """The JobSet of an island.

    Args:
        config: of the run.
        spec: what is to run.
        key: what it is submitted under.
    """
    names = Names(spec.label, spec.island)
    marks = {"labels": names.labels, "annotations": {ISLAND: spec.island}}
    job = job_of(spec, {"metadata": marks, "spec": pod_of(config, spec)})
    asked = {LABEL: spec.label, KEY: key}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": names.name,
            "labels": names.labels,
            "annotations": marks["annotations"] | asked,
        },
        "spec": {
            "failurePolicy": {"maxRestarts": 0},
            "ttlSecondsAfterFinished": _REMEMBERED_S,
            "replicatedJobs": [
                {
                    "name": _REPLICATED,
                    "replicas": 1,
                    "template": {"metadata": marks, "spec": job},
                }
            ],
        },
    }


def secret_of(spec: NodeSpec, jobset: Tree) -> Tree:
    """The Secret with an island's join token, which goes when its JobSet goes.

    Args:
        spec: of the island.
        jobset: as Kubernetes has taken it.
    """
    names = Names(spec.label, spec.island)
    owner = {
        "apiVersion": jobset["apiVersion"],
        "kind": jobset["kind"],
        "name": jobset["metadata"]["name"],
        "uid": jobset["metadata"]["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.name, "labels": names.labels, "ownerReferences": [owner]},
        "immutable": True,
        "data": {_TOKEN: base64.b64encode(spec.token.encode()).decode()},
    }


def pod_of(config: Config, spec: NodeSpec) -> Tree:
    """The specification of an island's pods, which ask for no rights over node or cluster."""
    wanted, user = config.kubernetes, config.kubernetes.user
    optional = {
        "nodeSelector": wanted.node_selector,
        "tolerations": [
            {name: value for name, value in each.model_dump().items() if value}
            for each in wanted.tolerations
        ],
        "serviceAccountName": wanted.service_account,
        "priorityClassName": wanted.priority_class,
        "imagePullSecrets": [{"name": name} for name in wanted.image_pull_secrets],
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(config.island.drain_s) + _MARGIN_S,
        "shareProcessNamespace": True,  # somebody has to collect what trainers leave behind
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": user != 0,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",  # else every start goes through whole volumes
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(config, spec)],
        "volumes": _volumes(config, spec),
        **{name: value for name, value in optional.items() if value},
    }


def _container(config: Config, spec: NodeSpec) -> Tree:
    wanted = config.kubernetes
    mounts: list[Tree] = [{"name": "atoll-work", "mountPath": _WORK}]
    if spec.token:
        mounts.append({"name": "atoll-join", "mountPath": _JOIN, "readOnly": True})
    if spec.num_gpus:
        # By default it is too small for the processes of several GPUs.
        mounts.append({"name": "atoll-shm", "mountPath": "/dev/shm"})  # noqa: S108
    for number, path in enumerate(wanted.claims.values()):
        mounts.append({"name": f"claim-{number}", "mountPath": path})
    return {
        "name": CONTAINER,
        "image": wanted.image,
        "command": ["/bin/sh", "-c", _script(wanted.python, spec)],
        "workingDir": _WORK,  # where the user may write, whatever the image says
        # The user need not be known in the image.
        "env": [{"name": "HOME", "value": _WORK}, {"name": "USER", "value": "atoll"}],
        "envFrom": [{"secretRef": {"name": name}} for name in wanted.env_from_secrets],
        "resources": _resources(config, spec.num_gpus),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _script(python: str, spec: NodeSpec) -> str:
    """What the container runs. The token's file becomes one that its user alone can read."""
    agent = [python, "-P", "-m", "atoll", "agent", *spec.agent]
    agent += ["--island", spec.island, "--work-dir", f"{_WORK}/{spec.island}"]
    agent += ["--join", f"{_WORK}/{_TOKEN}"] if spec.token else []
    start = f"exec {shlex.join(agent)}"
    if spec.num_nodes > 1:
        # The job tells each pod its number; what tells its starts apart, the agent adds.
        start += f' --node "node-$JOB_COMPLETION_INDEX" --left-code {LEFT}'
    if not spec.token:
        return start
    return f"umask 077; cat {_JOIN}/{_TOKEN} >{_WORK}/{_TOKEN} && {start}"


def _resources(config: Config, num_gpus: int) -> Tree:
    wanted, island = config.kubernetes, config.island
    limits = {}
    if wanted.memory_gb:
        limits["memory"] = f"{wanted.memory_gb}Gi"
    if num_gpus:
        limits[wanted.gpu_resource] = str(num_gpus)
    cpus = wanted.cpus or island.processes * island.threads
    return {"requests": {"cpu": str(cpus), **limits}, "limits": limits}


def _volumes(config: Config, spec: NodeSpec) -> Sequence[Tree]:
    volumes: list[Tree] = [{"name": "atoll-work", "emptyDir": {}}]
    if spec.token:
        secret = {"secretName": Names(spec.label, spec.island).name, "defaultMode": 0o400}
        volumes.append({"name": "atoll-join", "secret": secret})
    if spec.num_gpus:
        volumes.append({"name": "atoll-shm", "emptyDir": {"medium": "Memory"}})
    for number, name in enumerate(config.kubernetes.claims):
        claim = {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": name}}
        volumes.append(claim)
    return volumes
