"""The manifests of an orchestrator in a cluster, against the published schemas and each other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from atoll.address import split_address
from atoll.config_file import read_config
from cluster.kubernetes.manifests import pod_of
from cluster.kubernetes.names import Names
from cluster.provider import NodeSpec
from tests.kubernetes.schemas import BATCH, CORE, problems

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS = {
    (tree["kind"], tree["metadata"]["name"]): tree
    for name in KUSTOMIZATION["resources"]
    for tree in yaml.safe_load_all((FOLDER / name).read_text())
}
GROUPS = {
    "Job": BATCH,
    "NetworkPolicy": "api.networking.v1.",
    "Role": "api.rbac.v1.",
    "RoleBinding": "api.rbac.v1.",
}
POD = OBJECTS["Job", "atoll-run"]["spec"]["template"]


def test_kustomization_names_every_manifest():
    files = {path.name for path in FOLDER.iterdir()}
    assert files == {*KUSTOMIZATION["resources"], "kustomization.yaml", "run.toml"}


@pytest.mark.parametrize("named", sorted(OBJECTS), ids="-".join)
def test_manifest_fits_the_published_schemas(named):
    kind, _ = named
    assert problems(OBJECTS[named], f"{GROUPS.get(kind, CORE)}{kind}") == []


def test_manifests_fit_each_other():
    account = POD["spec"]["serviceAccountName"]
    binding = OBJECTS["RoleBinding", account]
    assert ("Role", binding["roleRef"]["name"]) in OBJECTS
    assert [subject["name"] for subject in binding["subjects"]] == [account]
    assert ("ServiceAccount", account) in OBJECTS
    selector = OBJECTS["Service", "atoll-orchestrator"]["spec"]["selector"]
    assert selector.items() <= POD["metadata"]["labels"].items()
    claim = POD["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in OBJECTS
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert POD["spec"]["volumes"][1]["configMap"]["name"] == generated["name"]
    assert ("Namespace", KUSTOMIZATION["namespace"]) in OBJECTS


def test_nodes_of_an_island_are_called_by_islands_alone():
    spec = OBJECTS["NetworkPolicy", "atoll-islands"]["spec"]
    (rule,) = spec["ingress"]
    (callers,) = rule["from"]
    labels = Names("run", "island-1").labels
    for selector in (spec["podSelector"], callers["podSelector"]):
        assert selector["matchLabels"].items() <= labels.items()
    assert not spec["podSelector"]["matchLabels"].items() <= POD["metadata"]["labels"].items()


def test_run_of_the_manifests_is_one_that_they_serve():
    config = read_config(FOLDER / "run.toml")
    assert config.kubernetes.namespace == KUSTOMIZATION["namespace"]
    (image,) = KUSTOMIZATION["images"]
    assert config.kubernetes.image == f"{image['newName']}:{image['newTag']}"
    (container,) = POD["spec"]["containers"]
    assert split_address(config.orchestrator.listen)[1] == container["ports"][0]["containerPort"]
    wanted = [each["secretRef"]["name"] for each in container["envFrom"]]
    assert list(config.kubernetes.env_from_secrets) == wanted


def test_orchestrator_has_no_more_rights_over_its_node_than_an_island():
    config = read_config(FOLDER / "run.toml")
    island = pod_of(config, NodeSpec("island-1", "run", (), num_gpus=0))
    assert POD["spec"]["securityContext"] == island["securityContext"]
    (own,), (other,) = POD["spec"]["containers"], island["containers"]
    assert own["securityContext"] == other["securityContext"]


def test_orchestrator_that_starts_again_has_its_keys_for_itself_alone(tmp_path):
    (container,) = POD["spec"]["containers"]
    *shell, script = container["command"]
    given, kept = tmp_path / "given", tmp_path / "tls" / "ca.key"
    given.mkdir()
    (given / "ca.key").touch(mode=0o440)
    (tmp_path / "atoll").symlink_to("/bin/true")
    asked = [*shell, script.replace("/etc/atoll/tls", str(given))]
    for _ in range(2):
        subprocess.run(asked, cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
        assert kept.stat().st_mode & 0o077 == 0
        kept.chmod(0o460)  # as a volume's group gets it, and nobody may write to it
