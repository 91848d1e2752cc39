"""A run whose islands are JobSets of the tests' cluster, and what befalls those."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cluster import processes

pytestmark = pytest.mark.timeout(150)

IMAGE = "atoll:test"


@pytest.fixture
def run(make_run, kubernetes, own_address, tmp_path):
    """As a user has it: certificates, a token in a Secret for each island, the run on a claim."""
    tls = tmp_path / "tls"
    subprocess.run([sys.executable, "-m", "atoll", "certs", tls, "--host", own_address], check=True)
    overrides = [
        'island.provider="kubernetes"',
        f'kubernetes.image="{IMAGE}"',
        "kubernetes.namespace=atoll",
        f"kubernetes.python={sys.executable}",
        f'kubernetes.claims={{shared="{tmp_path}"}}',
        f"orchestrator.listen={own_address}:0",
        f"orchestrator.tls={tls}",
    ]
    return make_run("run", steps=200, options="--step-s 0.05 --every 10", overrides=overrides)


def test_run_in_a_cluster_survives_a_lost_image_and_a_pod_taken_away(
    run, kubernetes, until, undisturbed, tmp_path
):
    cluster = kubernetes.cluster
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
