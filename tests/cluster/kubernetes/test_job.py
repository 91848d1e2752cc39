"""How the job of an island goes on, and when it ends: what is asked of Kubernetes for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.exits import ORPHANED
from cluster.kubernetes.job import LEFT, job_of


def actions_of(job: dict) -> dict[int | str, str]:
    """What happens by the condition of a pod, or by the code it ended with."""
    return {
        sign: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        for sign in (
            *(each["type"] for each in rule.get("onPodConditions", ())),
            *rule.get("onExitCodes", {"values": ()})["values"],
        )
    }


def test_job_of_one_node_ends_with_its_pod(spec):
    job = job_of(spec, {})
    assert (job["completions"], job["parallelism"], job["backoffLimit"]) == (1, 1, 0)
    assert actions_of(job) == {"DisruptionTarget": "FailJob"}
    assert "backoffLimitPerIndex" not in job


@pytest.mark.parametrize(("min_nodes", "spare"), [(4, 0), (3, 1), (1, 3)])
def test_job_of_several_nodes_ends_once_too_few_can_come(spec, min_nodes, spare):
    job = job_of(replace(spec, num_nodes=4, min_nodes=min_nodes), {})
    assert (job["completions"], job["parallelism"]) == (4, 4)
    assert job["maxFailedIndexes"] == spare
    assert "backoffLimit" not in job  # it would count all of them together


def test_job_of_several_nodes_makes_again_what_was_taken_or_left_and_not_what_is_no_use(spec):
    job = job_of(replace(spec, num_nodes=2), {})
    assert actions_of(job) == {
        "DisruptionTarget": "Ignore",
        LEFT: "Ignore",
        2: "FailIndex",
        ORPHANED: "FailIndex",
        126: "FailIndex",
        127: "FailIndex",
    }
    for rule in job["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {"values": []})["values"]
        assert codes == sorted(set(codes))  # no server takes others
