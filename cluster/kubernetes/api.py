"""The calls that are made to a cluster, by Kubernetes' official client.

That client rather than ``kubectl``: it comes by pip with everything else, also into an image; it
reads the same kubeconfig, contexts and login plugins; and it answers with the cluster's own status,
where a program has but a line of text. Objects are plain trees here, as in the documents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from atoll.errors import ConfigError, IslandError
from atoll.provider_sections import KubernetesSection

try:
    import yaml
    from kubernetes.client import ApiClient, Configuration, CoreV1Api, CustomObjectsApi
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
    from urllib3.exceptions import HTTPError
except ImportError as missing:
    raise ConfigError(
        'island.provider = "kubernetes" needs its client; run `pip install "atoll[kubernetes]"`'
    ) from missing

Tree = dict[str, Any]

_JOBSETS = ("jobset.x-k8s.io", "v1alpha2")
_JOBS = ("batch", "v1")
_ANSWER_S = 30.0
_MOST_TEXT = 500


class Refusal(IslandError):
    """The cluster has answered, and does not do what it was asked.

    Attributes:
        code: as in HTTP.
        about: the kind of object its answer speaks of, in the plural; "" for none.
    """

    def __init__(self, message: str, code: int, about: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.about = about


class Api:
    """One namespace of a cluster. Every method raises IslandError where nobody answers."""

    def __init__(self, section: KubernetesSection) -> None:
        """Find the cluster; it is not called yet. Raises: ConfigError, none is known."""
        client = ApiClient(_found(section.context))
        self._namespace = section.namespace
        self._core, self._custom = CoreV1Api(client), CustomObjectsApi(client)

    def create_jobset(self, jobset: Tree, *, rehearse: bool = False) -> Tree:
        """Make one; returns it as it was taken. Raises: Refusal."""
        return self._tree(
            self._custom.create_namespaced_custom_object,
            *_JOBSETS,
            self._namespace,
            "jobsets",
            jobset,
            **_strictly(rehearse),
        )

    def create_pod(self, pod: Tree, *, rehearse: bool = False) -> None:
        """Make one. Raises: Refusal."""
        self._tree(self._core.create_namespaced_pod, self._namespace, pod, **_strictly(rehearse))

    def create_secret(self, secret: Tree, *, rehearse: bool = False) -> None:
        """Make one. Raises: Refusal."""
        call = self._core.create_namespaced_secret
        self._tree(call, self._namespace, secret, **_strictly(rehearse))

    def jobset(self, name: str) -> Tree:
        """As it is now. Raises: Refusal."""
        call = self._custom.get_namespaced_custom_object
        return self._tree(call, *_JOBSETS, self._namespace, "jobsets", name)

    def jobsets(self, selector: str) -> Sequence[Tree]:
        """Those with such labels. Raises: Refusal."""
        call = self._custom.list_namespaced_custom_object
        asked = (*_JOBSETS, self._namespace, "jobsets")
        return self._items(call, *asked, label_selector=selector)

    def jobs(self, selector: str) -> Sequence[Tree]:
        """Those with such labels. Raises: Refusal."""
        call = self._custom.list_namespaced_custom_object
        return self._items(call, *_JOBS, self._namespace, "jobs", label_selector=selector)

    def pods(self, selector: str) -> Sequence[Tree]:
        """Those with such labels. Raises: Refusal."""
        call = self._core.list_namespaced_pod
        return self._items(call, self._namespace, label_selector=selector)

    def warnings(self) -> Sequence[Tree]:
        """The events that something is wrong, of the last hour or so. Raises: Refusal."""
        call = self._core.list_namespaced_event
        return self._items(call, self._namespace, field_selector="type=Warning")

    def log(self, pod: str, container: str, num_lines: int) -> str:
        """The last lines that a container wrote. Raises: Refusal, it has written nothing yet."""
        call = self._core.read_namespaced_pod_log
        where = {"container": container, "tail_lines": num_lines}
        return self._text(call, pod, self._namespace, **where)

    def delete_jobset(self, name: str, *, rehearse: bool = False) -> None:
        """Delete one and all that it owns; it is seen until that is gone. Raises: Refusal."""
        self._tree(
            self._custom.delete_namespaced_custom_object,
            *_JOBSETS,
            self._namespace,
            "jobsets",
            name,
            propagation_policy="Foreground",
            **_dry(rehearse),
        )

    def delete_pods(self, selector: str, *, rehearse: bool = False) -> None:
        """Delete those with such labels, at once. Raises: Refusal."""
        self._tree(
            self._core.delete_collection_namespaced_pod,
            self._namespace,
            label_selector=selector,
            grace_period_seconds=0,
            **_dry(rehearse),
        )

    def _items(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Sequence[Tree]:
        found: Sequence[Tree] = self._tree(call, *arguments, **options)["items"]
        return found

    def _tree(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Tree:
        text = self._text(call, *arguments, **options)
        try:
            tree: Tree = json.loads(text)
        except ValueError as error:
            raise IslandError("the cluster's answer is no JSON") from error
        return tree

    def _text(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
        with _told():
            answer = call(*arguments, **options, _preload_content=False, _request_timeout=_ANSWER_S)
            return str(answer.data.decode(errors="replace"))


def _found(context: str) -> Configuration:
    """How the cluster is called. Raises: ConfigError."""
    found, file = Configuration(), os.environ.get("KUBECONFIG")
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and not (file or context):
            load_incluster_config(client_configuration=found)
        else:
            load_kube_config(file, context or None, client_configuration=found)
    except (ConfigException, yaml.YAMLError, OSError, TypeError) as error:
        raise ConfigError(
            f"kubernetes.context: no cluster is known here ({_line(str(error))}); see that "
            "`kubectl config get-contexts` shows it, or set KUBECONFIG to its file"
        ) from error
    found.retries = False  # who asks does it again
    return found


@contextmanager
def _told() -> Iterator[None]:
    """Inside, what goes wrong is told in this house's errors."""
    try:
        yield
    except ApiException as error:
        if not error.status:
            raise IslandError(f"the cluster does not answer: {_line(str(error.reason))}") from error
        raise _refusal(error) from None  # its text has headers in it, and the whole answer
    except (HTTPError, OSError) as error:
        raise IslandError(f"the cluster does not answer: {_line(str(error))}") from error


def _refusal(error: ApiException) -> Refusal:
    """What the cluster says is wrong.

    Of an answer that is not its own only the number is told: what stands before a cluster may send
    back what it was sent, secrets and all.
    """
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
    try:
        status = json.loads(body or "")
        message, about = status["message"], (status.get("details") or {}).get("kind", "")
    except (ValueError, LookupError, TypeError, AttributeError):
        message, about = f"status {error.status} ({error.reason})", ""
    return Refusal(_line(str(message)), error.status, str(about))


def _line(text: str) -> str:
    return " ".join(text.split())[:_MOST_TEXT]


def _dry(rehearse: bool) -> dict[str, str]:
    return {"dry_run": "All"} if rehearse else {}


def _strictly(rehearse: bool) -> dict[str, str]:
    """A field that the cluster does not know is refused, not dropped."""
    return {"field_validation": "Strict", **_dry(rehearse)}
