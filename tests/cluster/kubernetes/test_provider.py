"""What befalls islands in a cluster, and calls to it; see also tests/contracts/test_provider.py."""

from __future__ import annotations

import json
import signal

import pytest

from atoll.errors import IslandError
from cluster.kubernetes import api
from tests.cluster.kubernetes.conftest import LABEL
from tests.kubernetes.server import Fault


def pod_of(kubernetes) -> str:
    (name,) = kubernetes.cluster.of("pods")
    return name


def begin(provider, spec, node) -> None:
    provider.submit(spec, "key")
    node(lambda it: it.alive and not it.waiting)


def test_image_that_no_registry_has_ends_the_island_and_nothing_stays(
    provider, kubernetes, spec, node, nothing_left
):
    kubernetes.cluster.kubelet.lost_images.add("atoll:test")
    assert provider.submit(spec, "key").waiting
    ended = node(lambda it: not it.alive)
    assert not ended.cleared
    assert 'ImagePullBackOff: Back-off pulling image "atoll:test"' in ended.reason
    provider.cancel("island-1")
    assert nothing_left()
    assert node(lambda it: it.cleared).reason == ended.reason


def test_pod_that_finds_no_node_waits_and_is_given_up_in_the_end(make, kubernetes, spec, node):
    kubelet = kubernetes.cluster.kubelet
    kubelet.room, kubelet.no_room = 0, "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    patient, hasty = make(), make("kubernetes.start_s=0.05")
    patient.submit(spec, "key")
    ended = node(lambda it: not it.alive, hasty)
    assert ended.reason.startswith("it did not begin in 0.05 s, waiting for a node: 0/3 nodes are")
    assert node(lambda it: it.alive, patient).waiting
    kubelet.room = 1
    assert node(lambda it: not it.waiting, patient).alive


def test_pod_that_no_quota_allows_ends_the_island_with_the_quotas_words(
    provider, kubernetes, spec, node, nothing_left
):
    kubernetes.cluster.pod_quota = 0
    provider.submit(spec, "key")
    assert "exceeded quota: lab" in node(lambda it: not it.alive).reason
    provider.cancel("island-1")
    assert nothing_left()


def test_pod_that_is_evicted_has_its_time_and_tells_why_it_ended(provider, kubernetes, spec, node):
    begin(provider, spec, node)
    kubelet, pod = kubernetes.cluster.kubelet, kubernetes.cluster.of("pods")[pod_of(kubernetes)]
    kubelet.signal(pod, signal.SIGSTOP)  # it takes its time
    kubernetes.cluster.disrupt(pod["metadata"]["name"], "EvictionByEvictionAPI", "node is drained")
    assert node(lambda it: it.alive).reason == ""
    kubelet.signal(pod, signal.SIGCONT)
    assert node(lambda it: not it.alive).reason == "it was evicted: node is drained"
    assert not kubernetes.cluster.of("pods")  # and yet it is known


def test_pod_that_dies_of_being_taken_away_is_told_so_by_its_job(make, kubernetes, spec, node):
    provider = make()
    begin(provider, spec, node)
    with kubernetes.cluster.lock:
        pod = kubernetes.cluster.of("pods")[pod_of(kubernetes)]
        kubernetes.cluster.disrupt(pod["metadata"]["name"], "PreemptionByScheduler", "by another")
        kubernetes.cluster.kubelet.kill(pod, 137, "Error")
    node(lambda _: not kubernetes.cluster.of("pods"), provider)
    assert "DisruptionTarget" in node(lambda it: not it.alive, make()).reason


def test_memory_that_runs_out_is_told_of(provider, kubernetes, spec, node):
    begin(provider, spec, node)
    with kubernetes.cluster.lock:
        pod = kubernetes.cluster.of("pods")[pod_of(kubernetes)]
        kubernetes.cluster.kubelet.kill(pod, 137, "OOMKilled")
    assert node(lambda it: not it.alive).reason == "it ran out of memory"


def test_interpreter_that_is_not_in_the_image_leaves_its_words_in_the_log(make, spec, node):
    provider = make("kubernetes.python=nowhere-to-be-found")
    provider.submit(spec, "key")
    assert node(lambda it: not it.alive, provider).reason == "exited with code 127"
    assert "not found" in provider.logs("island-1", 3)


def test_island_that_somebody_deletes_is_told_of_as_dead(
    provider, kubernetes, spec, node, nothing_left
):
    begin(provider, spec, node)
    (name,) = kubernetes.cluster.of("jobsets")
    kubernetes.cluster.delete("jobsets", name, None, "Background")
    ended = node(lambda it: not it.alive)
    assert (ended.reason, ended.cleared) == ("its JobSet was deleted", False)
    assert nothing_left()


def test_cancel_that_overtakes_its_submission_leaves_nothing(provider, spec, nothing_left):
    provider.cancel("island-1")
    provider.submit(spec, "key")
    assert nothing_left()


def test_secret_that_cannot_be_made_takes_its_island_along(
    provider, kubernetes, spec, nothing_left
):
    kubernetes.faults.append(Fault("create", "secrets", 500, "etcdserver: request timed out"))
    with pytest.raises(IslandError, match="etcdserver: request timed out"):
        provider.submit(spec, "key")
    assert nothing_left()
    assert "a secret" not in "".join(kubernetes.bodies)


def test_submission_whose_answer_is_lost_can_be_made_again(provider, kubernetes, spec, node):
    kubernetes.faults.append(Fault("create", "secrets", 0))
    kubernetes.faults.append(Fault("delete", "jobsets", 0))
    with pytest.raises(IslandError, match="the cluster does not answer"):
        provider.submit(spec, "key")
    assert list(kubernetes.cluster.of("jobsets"))
    provider.submit(spec, "key")
    assert node(lambda it: not it.waiting).alive
    assert len(kubernetes.cluster.of("secrets")) == 1


@pytest.mark.parametrize("code", [401, 403, 410, 429, 500, 503])
def test_refusal_while_islands_are_at_work_is_trouble_and_no_end(
    provider, kubernetes, spec, node, code
):
    begin(provider, spec, node)
    kubernetes.faults.append(Fault("list", "pods", code, "one\nsentence"))
    with pytest.raises(IslandError, match=r"^one sentence$"):
        provider.list(LABEL)
    assert node(lambda it: it.alive)


def test_cluster_that_is_slow_or_gone_does_not_answer(make, kubernetes, monkeypatch):
    monkeypatch.setattr(api, "_ANSWER_S", 0.1)
    provider = make()
    kubernetes.delay_s = 5
    with pytest.raises(IslandError, match=r"the cluster does not answer: .*timed out"):
        provider.list(LABEL)
    kubernetes.stop()
    with pytest.raises(IslandError, match=r"the cluster does not answer: .*refused"):
        provider.list(LABEL)


def test_proxy_that_sends_a_secret_back_is_not_repeated(provider, kubernetes, spec):
    kubernetes.faults.append(Fault("create", "secrets", 400, "raw:what is YSBzZWNyZXQ=?"))
    with pytest.raises(IslandError, match=r"^status 400 \(Bad Request\)$"):
        provider.submit(spec, "key")


def test_token_stands_in_the_secret_alone(provider, kubernetes, spec, node):
    begin(provider, spec, node)
    holding = [body for body in kubernetes.bodies if "YSBzZWNyZXQ=" in body]
    assert [json.loads(body)["kind"] for body in holding] == ["Secret"]
    assert not [body for body in kubernetes.bodies if "a secret" in body]
