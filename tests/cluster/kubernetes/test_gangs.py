"""What befalls islands of several nodes in a cluster; see also tests/contracts/test_provider.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.provider import Node
from tests.cluster.kubernetes.conftest import LABEL
from tests.kubernetes.jobs import INDEX

ALIVE = Node("island-1", alive=True)


@pytest.fixture
def provider(make):
    return make("island.nodes=2")


@pytest.fixture
def spec(spec):
    return replace(spec, num_nodes=2, min_nodes=1)


@pytest.fixture
def pods(kubernetes):
    """Names of the pods there are in a phase, by their number."""

    def found(phase: str = "Running") -> dict[int, str]:
        with kubernetes.cluster.lock:
            return {
                int(pod["metadata"]["annotations"][INDEX]): name
                for name, pod in kubernetes.cluster.of("pods").items()
                if pod["status"]["phase"] == phase
            }

    return found


@pytest.fixture
def begun(provider, spec, node, pods):
    """The pods of an island that works, by their number."""
    provider.submit(spec, "key")
    node(lambda _: len(pods()) == 2)
    return pods()


def log_of(kubernetes, pod: str) -> str:
    cluster = kubernetes.cluster
    with cluster.lock:
        return cluster.kubelet.log(cluster.of("pods")[pod], 1)


@pytest.fixture
def kill(kubernetes, node):
    """Ends the container of a pod, once it has said something."""

    def end(name: str, code: int = 137) -> None:
        node(lambda _: log_of(kubernetes, name))
        cluster = kubernetes.cluster
        with cluster.lock:
            cluster.kubelet.kill(cluster.of("pods")[name], code, "Error")

    return end


def test_pod_that_is_evicted_comes_back_and_its_island_lives_on(kubernetes, begun, node, pods):
    for _ in range(4):  # more often than a pod may break
        name = pods()[0]
        kubernetes.cluster.disrupt(name, "EvictionByEvictionAPI", "node is drained")
        node(lambda it, name=name: pods().get(0, name) != name and it == ALIVE)
    assert pods()[1] == begun[1]


def test_pod_that_is_deleted_by_somebody_comes_back(kubernetes, begun, node, pods):
    with kubernetes.cluster.lock:
        kubernetes.cluster.delete("pods", begun[1], None, "Background")
    node(lambda it: pods().get(1, begun[1]) != begun[1] and it == ALIVE)
    assert pods()[0] == begun[0]


def test_pod_that_breaks_again_and_again_is_done_without(kubernetes, begun, node, pods, kill):
    for _ in range(4):
        name = pods()[1]
        kill(name)
        node(lambda _, name=name: pods().get(1) != name)
        failed = node(lambda _: 1 in pods() or is_done_with(kubernetes, 1))
    assert failed == ALIVE
    assert pods() == {0: begun[0]}


def is_done_with(kubernetes, number: int) -> bool:
    (job,) = kubernetes.cluster.of("jobs").values()
    return job.get("status", {}).get("failedIndexes") == str(number)


def test_island_that_needs_a_pod_that_is_no_use_ends_with_that_pods_words(
    provider, spec, node, pods, kill
):
    provider.submit(replace(spec, min_nodes=2), "key")
    node(lambda _: len(pods()) == 2)
    kill(pods()[1], 127)
    ended = node(lambda it: not it.alive)
    assert ended.reason.startswith("exited with code 127")  # and then the other, which had to leave
    assert not ended.cleared
    assert "--node node-1" in provider.logs("island-1", 9)


@pytest.fixture
def crowded(provider, kubernetes, spec, node, pods):
    """The node of a cluster that has room for one pod of an island, which has begun."""
    kubelet = kubernetes.cluster.kubelet
    kubelet.room = 1
    provider.submit(spec, "key")
    node(lambda _: pods() and pods("Pending"))
    return kubelet


@pytest.mark.usefixtures("crowded")
def test_island_whose_first_agent_is_dismissed_ends_with_all_of_them(
    provider, node, pods, kill, nothing_left
):
    (name,) = pods().values()
    kill(name, 0)
    assert node(lambda it: not it.alive).reason == "exited with code 0"
    provider.cancel("island-1")
    assert nothing_left()


def test_island_works_with_the_pods_that_found_a_node(make, crowded, node, pods):
    hasty = make("island.nodes=2", "kubernetes.start_s=0.001")
    for _ in range(3):
        assert node(lambda _: True, hasty) == ALIVE
    crowded.room = 2
    node(lambda it: len(pods()) == 2 and it == ALIVE, hasty)


def test_island_tells_of_the_quota_that_keeps_a_pod_from_it(
    provider, kubernetes, spec, node, caplog
):
    caplog.set_level("INFO")
    kubernetes.cluster.pod_quota = 1
    provider.submit(spec, "key")
    node(lambda it: it == ALIVE and kubernetes.cluster.of("events"))
    provider.list(LABEL)
    told = [record.fields["for"] for record in caplog.records if record.message == "waits"]
    assert "exceeded quota: lab" in told[-1]


@pytest.mark.usefixtures("begun")
def test_island_that_somebody_deletes_makes_no_pods_again(kubernetes, node, nothing_left):
    (name,) = kubernetes.cluster.of("jobsets")
    kubernetes.cluster.delete("jobsets", name, None, "Foreground")
    ended = node(lambda it: not it.alive)
    assert (ended.reason, ended.missing) == ("its JobSet was deleted", 0)
    assert nothing_left()
