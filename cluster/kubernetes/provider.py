"""Islands as JobSets of Kubernetes: one each.

What is known of an island lies in the cluster itself: its objects carry labels with run and island,
and its JobSet what it was submitted under. So a later orchestrator finds them again, wherever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atoll.blobs import local_path
from atoll.clock import SystemClock
from atoll.config import Config
from atoll.errors import ConfigError, IslandError
from cluster.kubernetes import rehearsal
from cluster.kubernetes.api import Api, Refusal
from cluster.kubernetes.manifests import CONTAINER, jobset_of, secret_of
from cluster.kubernetes.names import ISLAND, KEY, Names, selector_of
from cluster.kubernetes.pods import latest
from cluster.kubernetes.sight import Sight
from cluster.kubernetes.watch import Watch
from cluster.provider import Capabilities, Node, NodeSpec

Tree = dict[str, Any]

_MISSING, _TAKEN = 404, 409
_MOST_GPUS = 64


class KubernetesProvider:
    """See :class:`cluster.provider.Provider`."""

    def __init__(self, config: Config, label: str, folder: Path) -> None:  # noqa: ARG002
        """Submit JobSets as a configuration asks.

        Args:
            config: of the run.
            label: its name; islands of others are none of its business.
            folder: for what providers keep on this machine; this one keeps nothing.

        Raises:
            ConfigError: no cluster is known here.
        """
        self._config, self._label = config, label
        self._api = Api(config.kubernetes)
        self._watch = Watch(config.kubernetes.start_s, SystemClock())

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`; what one node has, only the cluster knows."""
        return Capabilities(num_gpus=_MOST_GPUS, elsewhere=True)

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`; all calls are rehearsed with the cluster."""
        self._refuse_unusable(spec)
        rehearsal.rehearse(self._api, self._config, spec)

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        name = Names(self._label, spec.island).name
        try:
            jobset = self._api.create_jobset(jobset_of(self._config, spec, idempotency_key))
        except Refusal as error:
            if error.code != _TAKEN:
                raise
            jobset = self._api.jobset(name)
            if jobset["metadata"].get("annotations", {}).get(KEY) != idempotency_key:
                raise IslandError(
                    f"{spec.island} was started before; islands are never reused"
                ) from error
        try:
            if spec.token:
                with _allowed(_TAKEN):
                    self._api.create_secret(secret_of(spec, jobset))
        except IslandError:
            self._delete(spec.island)  # it would wait for its secret for ever
            raise
        if self._watch.was_cancelled(spec.island):  # meanwhile, when there was nothing to delete
            self._delete(spec.island)
        return Node(spec.island, alive=True, waiting=True)

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`; one that vanished is told of as dead."""
        return self._watch.nodes(self._sights()) if label == self._label else ()

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`; of several pods one that tells of the end."""
        for pod in latest(self._api.pods(Names(self._label, island).selector)):
            with _allowed():  # its container may not have begun, or be forgotten
                return self._api.log(pod["metadata"]["name"], CONTAINER, num_lines)
        return ""

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`; its Secret goes with the JobSet."""
        self._watch.cancelled(island)
        self._delete(island)

    def _delete(self, island: str) -> None:
        names = Names(self._label, island)
        with _allowed(_MISSING):
            self._api.delete_jobset(names.name)
        self._api.delete_pods(names.selector)

    def _refuse_unusable(self, spec: NodeSpec) -> None:
        wanted, uri = self._config.kubernetes, self._config.run.uri
        if not wanted.image:
            raise ConfigError(
                "kubernetes.image is not set; name a container image whose python has Atoll"
            )
        if spec.num_gpus > _MOST_GPUS:
            raise ConfigError(
                f"island.device = cuda needs {spec.num_gpus} GPUs for island.processes, and no "
                f"node has more than {_MOST_GPUS}; ask for fewer processes"
            )
        path = local_path(uri)
        seen = [Path(place) for place in wanted.claims.values()]
        if path is not None and not any(path.absolute().is_relative_to(each) for each in seen):
            raise ConfigError(
                f"run.uri = {uri} is a folder of this machine, which pods do not see; give a "
                "bucket, or a folder on a volume that kubernetes.claims names"
            )

    def _sights(self) -> dict[str, Sight]:
        """All that there is of the run's islands, by island."""
        selector = selector_of(self._label)
        jobsets = _by_island(self._api.jobsets(selector))
        found = _by_island(self._api.pods(selector))
        pods = {island: latest(each) for island, each in found.items()}
        # Asked for seldom: where a pod is missing, or gone, they tell why.
        num_nodes = self._config.island.nodes
        short = {island for island in jobsets if len(pods.get(island, ())) < num_nodes}
        jobs = _by_island(self._api.jobs(selector) if short else ())
        warnings = self._api.warnings() if short else ()

        def sight(island: str) -> Sight:
            mine = [*jobsets.get(island, ()), *jobs.get(island, ())]
            names = {tree["metadata"]["name"] for tree in mine if island in short}
            words = [
                event.get("message", "")
                for event in warnings
                if event["involvedObject"].get("name") in names
            ]
            jobset = next(iter(jobsets.get(island, ())), {})
            return Sight(jobset, jobs.get(island, ()), pods.get(island, ()), words)

        return {island: sight(island) for island in sorted(jobsets.keys() | pods.keys())}


def _by_island(trees: Sequence[Tree]) -> dict[str, list[Tree]]:
    found = defaultdict(list)
    for tree in trees:
        island = tree["metadata"].get("annotations", {}).get(ISLAND)
        if island is not None:  # else it is none of ours, whatever its labels say
            found[island].append(tree)
    return dict(found)


@contextmanager
def _allowed(*codes: int) -> Iterator[None]:
    """Inside, these answers are as good as any; all refusals, if none is named."""
    try:
        yield
    except Refusal as error:
        if codes and error.code not in codes:
            raise
