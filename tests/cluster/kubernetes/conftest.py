"""A provider before the tests' cluster, whose islands run a small script in place of an agent."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from atoll.config import Config
from atoll.config_file import read_config
from cluster import processes
from cluster.kubernetes.job import LEFT
from cluster.kubernetes.provider import KubernetesProvider
from cluster.provider import Node, NodeSpec

LABEL = "some/run"
JOIN = "a secret"
# Leaves when it is told to, as agents do, and with the code that it is given for that.
AGENT = f"""#!/bin/sh
case "$*" in *"--left-code {LEFT}"*) code={LEFT};; *) code=0;; esac
echo "${{0##*/}} $*"
trap 'exit $code' TERM
while :; do sleep 0.02; done
"""


@pytest.fixture
def make_config(tmp_path) -> Callable[..., Config]:
    script = tmp_path / "agent"
    script.write_text(AGENT)
    script.chmod(0o755)
    common = [
        "run.uri=s3://lab/run",
        "kubernetes.image=atoll:test",
        "kubernetes.namespace=atoll",
        f"kubernetes.python={script}",
    ]
    return lambda *overrides: read_config(None, [*common, *overrides])


@pytest.fixture
def make(kubernetes, make_config, tmp_path) -> Callable[..., KubernetesProvider]:
    return lambda *overrides: KubernetesProvider(make_config(*overrides), LABEL, tmp_path)


@pytest.fixture
def provider(make) -> KubernetesProvider:
    return make()


@pytest.fixture
def spec() -> NodeSpec:
    return NodeSpec("island-1", LABEL, ("--run", "run"), num_gpus=0, token=JOIN)


@pytest.fixture
def node(provider, kubernetes):
    """Waits until the one node of the run is as it should be."""

    def until(holds: Callable[[Node], object], asked: KubernetesProvider = provider) -> Node:
        give_up_at = time.monotonic() + 30
        while True:
            (found,) = asked.list(LABEL)
            if holds(found):
                return found
            assert time.monotonic() < give_up_at, found
            time.sleep(0.02)

    return until


@pytest.fixture
def nothing_left(kubernetes, tmp_path):
    """Whether the cluster has forgotten all, as it does in a moment, and nothing runs."""

    def is_so() -> bool:
        give_up_at = time.monotonic() + 30
        kinds = ("jobsets", "jobs", "pods", "secrets")
        while any(kubernetes.cluster.of(kind) for kind in kinds):
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.02)
        return not processes.working_in(tmp_path)

    return is_so
