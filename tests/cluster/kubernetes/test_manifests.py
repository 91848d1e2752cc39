"""What is sent to a cluster, against the published schemas."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cluster.kubernetes.manifests import jobset_of, pod_of, secret_of
from tests.kubernetes.schemas import CORE, problems

EVERYTHING = [
    'kubernetes.node_selector={"cloud.google.com/gke-spot" = "true"}',
    'kubernetes.tolerations=[{key="spot", operator="Equal", value="yes", effect="NoSchedule"}, {}]',
    "kubernetes.cpus=12",
    "kubernetes.memory_gb=96",
    "kubernetes.service_account=islands",
    "kubernetes.priority_class=low",
    'kubernetes.image_pull_secrets=["registry"]',
    'kubernetes.env_from_secrets=["storage"]',
    'kubernetes.claims={work="/work", join="/data"}',
    "kubernetes.gpu_resource=amd.com/gpu",
    "island.drain_s=90.5",
]


@pytest.mark.parametrize("overrides", [[], EVERYTHING, ["kubernetes.user=0"]])
@pytest.mark.parametrize("num_gpus", [0, 8])
@pytest.mark.parametrize("num_nodes", [1, 4])
def test_objects_of_an_island_fit_the_published_schemas(
    make_config, spec, overrides, num_gpus, num_nodes
):
    spec = replace(spec, num_gpus=num_gpus, num_nodes=num_nodes)
    jobset = jobset_of(make_config(*overrides), spec, "key")
    assert problems(jobset, "JobSet") == []
    jobset["metadata"]["uid"] = "some-uid"
    assert problems(secret_of(spec, jobset), f"{CORE}Secret") == []


@pytest.mark.parametrize("island", ["island-1", "island-3.1", "Far_1", "x" * 63, "a.b.c-", "1"])
def test_names_of_odd_islands_fit_and_differ(make_config, spec, island):
    config, odd = make_config(), replace(spec, island=island)
    jobset = jobset_of(config, odd, "key")
    assert problems(jobset, "JobSet") == []
    assert len(f"{jobset['metadata']['name']}-node-0-1023-abcde") <= 63  # as its pods are called
    others = [replace(odd, island=f"{island}x"), replace(odd, label="another/run")]
    assert jobset["metadata"]["name"] not in {
        jobset_of(config, other, "key")["metadata"]["name"] for other in others
    }


def test_schemas_refuse_what_is_not_in_them(make_config, spec):
    jobset = jobset_of(make_config(), spec, "key")
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    pod["containers"][0]["imagePullPolice"] = "Always"
    jobset["spec"]["failurePolicy"] = {"maxRestarts": "none"}
    told = " ".join(problems(jobset, "JobSet"))
    assert "imagePullPolice" in told
    assert "'none' is not of type 'integer'" in told


def test_pod_has_no_rights_over_node_or_cluster(make_config, spec):
    pod = pod_of(make_config(), spec)
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] == 90


def test_island_without_a_token_mounts_none(make_config, spec):
    config = make_config()
    assert "join" in json.dumps(pod_of(config, spec))
    assert "join" not in json.dumps(pod_of(config, replace(spec, token="")))
