"""Every call an island will need, made once before anything starts, so that nothing comes of it.

The cluster then tells what it would refuse: rights that are missing, a namespace, a class or an
account that is not there, a pod that its rules forbid. What only a full quota refuses is let pass:
it may have room by the time it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from atoll.config import Config
from atoll.errors import ConfigError
from cluster.kubernetes.api import Api, Refusal
from cluster.kubernetes.manifests import CONTAINER, jobset_of, pod_of, secret_of
from cluster.kubernetes.names import Names, selector_of
from cluster.provider import NodeSpec

_FULL = "exceeded quota"
_NOBODY = "atoll-rehearsal"  # no object has this name
_NO_TOKEN = "rehearsed"  # noqa: S105 - the real one goes nowhere before anything starts


def rehearse(api: Api, config: Config, spec: NodeSpec) -> None:
    """Make the calls of an island's life.

    Raises:
        ConfigError: one is refused.
        IslandError: the cluster does not answer.
    """
    spec = replace(spec, token=spec.token and _NO_TOKEN)
    for call, fine in _calls(api, config, spec):
        try:
            call()
        except Refusal as error:
            if error.code not in fine and _FULL not in str(error):
                raise _mend(error, config) from error


def _calls(
    api: Api, config: Config, spec: NodeSpec
) -> list[tuple[Callable[[], object], tuple[int, ...]]]:
    """Each with the answers that say no more than that there is no such object yet, or there is."""
    jobset, run = jobset_of(config, spec, _NOBODY), selector_of(spec.label)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NOBODY, "labels": jobset["metadata"]["labels"]},
        "spec": pod_of(config, spec),
    }
    owner = {**jobset, "metadata": {**jobset["metadata"], "uid": _NOBODY}}
    nobody = Names(spec.label, _NOBODY)
    return [
        (partial(api.jobsets, run), ()),
        (partial(api.jobs, run), ()),
        (partial(api.pods, run), ()),
        (api.warnings, ()),
        (partial(api.create_jobset, jobset, rehearse=True), (409,)),
        (partial(api.create_pod, pod, rehearse=True), (409,)),
        (partial(api.create_secret, secret_of(spec, owner), rehearse=True), (409,)),
        (partial(api.jobset, nobody.name), (404,)),
        (partial(api.log, nobody.name, CONTAINER, 1), (404,)),
        (partial(api.delete_jobset, nobody.name, rehearse=True), (404,)),
        (partial(api.delete_pods, nobody.selector, rehearse=True), ()),
    ]


def _mend(error: Refusal, config: Config) -> Exception:
    """What the user does about a refusal; the refusal itself, if it is no fault of theirs."""
    wanted = config.kubernetes
    if error.code == 401:
        return ConfigError(
            f"kubernetes.context: the cluster does not know who calls ({error}); log in again, or "
            "name another context"
        )
    if error.code == 403 and " cannot " in str(error):
        return ConfigError(
            f"kubernetes.namespace: {error}; give this account the rights in "
            "deploy/kubernetes/rights.yaml"
        )
    if error.code == 404 and error.about == "namespaces":
        return ConfigError(
            f"kubernetes.namespace: there is no {wanted.namespace!r}; make it, or name another"
        )
    if error.code == 404:
        return ConfigError(
            f"kubernetes.context: the cluster knows no JobSets ({error}); have its operator "
            "install the JobSet controller, see docs/kubernetes.md"
        )
    if error.code in {400, 403, 422}:
        return ConfigError(f"Kubernetes takes no such island: {error}; see [kubernetes]")
    return error
