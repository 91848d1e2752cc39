"""What is found out before anything starts."""

from __future__ import annotations

import base64
import json

import pytest

from atoll.errors import ConfigError, IslandError
from tests.kubernetes.server import RIGHTS, Fault, rights_of


def test_rehearsal_uses_each_right_of_the_role_and_leaves_nothing(
    provider, kubernetes, spec, nothing_left
):
    provider.validate(spec)
    assert kubernetes.used == kubernetes.rights
    assert nothing_left()
    assert not kubernetes.cluster.of("events")


def test_rehearsal_sends_no_token_that_would_let_anybody_join(provider, kubernetes, spec):
    provider.validate(spec)
    sent = [json.loads(body) for body in kubernetes.bodies if body]
    (secret,) = (tree for tree in sent if tree["kind"] == "Secret")
    assert base64.b64decode(secret["data"]["token"]) not in {b"", spec.token.encode()}
    assert base64.b64encode(spec.token.encode()).decode() not in "".join(kubernetes.bodies)


@pytest.mark.parametrize("right", sorted(rights_of(RIGHTS)), ids="-".join)
def test_right_that_is_missing_is_named(provider, kubernetes, spec, right):
    kubernetes.rights.remove(right)
    _, resource, verb = right
    with pytest.raises(ConfigError, match=f'cannot {verb} resource "{resource}".*rights.yaml'):
        provider.validate(spec)


def test_cluster_without_jobsets_is_told_of(provider, kubernetes, spec):
    kubernetes.has_jobsets = False
    with pytest.raises(ConfigError, match="knows no JobSets"):
        provider.validate(spec)


def test_namespace_that_is_not_there_is_told_of(make, spec):
    with pytest.raises(ConfigError, match="there is no 'elsewhere'; make it"):
        make("kubernetes.namespace=elsewhere").validate(spec)


def test_caller_whom_the_cluster_does_not_know_is_told_so(make, kubernetes, spec, tmp_path):
    kubernetes.kubeconfig(tmp_path / "kubeconfig", "stale")
    with pytest.raises(ConfigError, match=r"does not know who calls.*log in again"):
        make().validate(spec)


def test_pod_that_the_clusters_rules_forbid_is_refused_in_their_words(provider, kubernetes, spec):
    words = 'pods "atoll-rehearsal" is forbidden: no PriorityClass with name fast was found'
    kubernetes.faults.append(Fault("create", "pods", 403, words))
    with pytest.raises(ConfigError, match=r"no PriorityClass with name fast.*\[kubernetes\]"):
        provider.validate(spec)


def test_quota_that_is_full_now_is_no_reason_not_to_begin(provider, kubernetes, spec):
    kubernetes.cluster.pod_quota = 0
    provider.validate(spec)


@pytest.mark.parametrize("code", [429, 500, 503, 0])
def test_cluster_in_trouble_has_refused_nothing(provider, kubernetes, spec, code):
    kubernetes.faults.append(Fault("create", "jobsets", code))
    with pytest.raises(IslandError):
        provider.validate(spec)


def test_cluster_that_nobody_knows_is_refused_at_once(make, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"kubernetes\.context: no cluster is known here"):
        make("kubernetes.context=elsewhere")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        make()


def test_island_without_an_image_is_refused(make, spec):
    with pytest.raises(ConfigError, match=r"kubernetes\.image is not set"):
        make("kubernetes.image=").validate(spec)


def test_run_in_a_folder_needs_a_claim_that_holds_it(make, spec, tmp_path):
    place = f"run.uri={tmp_path}/run"
    with pytest.raises(ConfigError, match=r"run\.uri.*pods do not see"):
        make(place).validate(spec)
    make(place, f'kubernetes.claims={{shared="{tmp_path}"}}').validate(spec)
