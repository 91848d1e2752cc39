"""A run whose islands are JobSets of the tests' cluster, and what befalls those."""

from __future__ import annotations

import sys

import pytest

from cluster import processes
from tests.integration.runs import make_certificates
from tests.kubernetes.jobs import INDEX

pytestmark = pytest.mark.timeout(300)

IMAGE = "atoll:test"


@pytest.fixture
def make(make_run, kubernetes, own_address, tmp_path):
    """Makes a run as a user has it: certificates, island tokens in Secrets, data on a claim."""
    tls = tmp_path / "tls"
    make_certificates(tls, "--host", own_address)
    overrides = [
        'island.provider="kubernetes"',
        f'kubernetes.image="{IMAGE}"',
        "kubernetes.namespace=atoll",
        f"kubernetes.python={sys.executable}",
        f'kubernetes.claims={{shared="{tmp_path}"}}',
        f"orchestrator.listen={own_address}:0",
        f"orchestrator.tls={tls}",
    ]

    def made(step_s: float, *more: str):
        options = f"--step-s {step_s} --every 10"
        return make_run("run", steps=200, options=options, overrides=[*overrides, *more])

    return made


def test_run_in_a_cluster_survives_a_lost_image_and_a_pod_taken_away(
    make, kubernetes, until, undisturbed, tmp_path
):
    run, cluster = make(0.05), kubernetes.cluster
    cluster.kubelet.lost_images.add(IMAGE)
    launcher = run.launch()

    def reasons() -> str:
        return " ".join(event.reason for event in run.events())

    until(run.jobs)
    until(lambda: "ImagePullBackOff" in reasons())
    cluster.kubelet.lost_images.clear()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    island = run.jobs()["expert-0"].island
    taken = [
        name
        for name, pod in cluster.of("pods").items()
        if pod["metadata"]["annotations"]["atoll/island"] == island
    ]
    cluster.disrupt(taken[0], "PreemptionByScheduler", "another pod needs its place")

    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    kinds = {event.kind for event in run.events() if event.island == island}
    assert "island-preempted" in kinds  # it had the time to hand its work over
    until(lambda: not any(cluster.of(kind) for kind in ("jobsets", "jobs", "pods", "secrets")))
    until(lambda: not processes.working_in(tmp_path))
    assert kubernetes.used <= kubernetes.rights


def test_island_of_two_pods_goes_on_without_one_and_takes_it_back(
    make, kubernetes, until, undisturbed, tmp_path
):
    gang = ["island.count=1", "island.nodes=2", "island.min_nodes=1", "island.lease_s=3"]
    run, cluster = make(0.06, *gang, "partition.num_experts=1"), kubernetes.cluster
    launcher = run.launch()
    until(lambda: len(run.nodes()) == 2 and run.committed("expert-0") >= 10)
    leader, follower = run.nodes()
    assert {leader[:6], follower[:6]} == {"node-0", "node-1"}
    numbers = {pod["metadata"]["labels"][INDEX]: name for name, pod in cluster.of("pods").items()}
    cluster.disrupt(numbers[leader[5]], "EvictionByEvictionAPI", "its node is drained")
    until(lambda: len(nodes := run.nodes()) == 2 and nodes[0] == follower)
    assert run.nodes()[1].startswith(leader[:6])

    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    kinds = [event.kind for event in run.events()]
    assert kinds.count("island-started") == 1
    assert kinds.count("island-preempted") == 1
    assert not {"node-lost", "leader-lost", "attempt-failed"} & {*kinds}  # it handed its work over
    until(lambda: not any(cluster.of(kind) for kind in ("jobsets", "jobs", "pods", "secrets")))
    until(lambda: not processes.working_in(tmp_path))
