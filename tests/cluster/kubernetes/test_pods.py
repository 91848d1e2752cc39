"""Which pods of an island count."""

from __future__ import annotations

from cluster.kubernetes.job import LEFT
from cluster.kubernetes.pods import latest
from tests.cluster.kubernetes.test_sight import container, pod


def numbered(number: int, phase: str, came: str = "2026-01-01T00:00:00Z", code: int = -1) -> dict:
    state = {} if code < 0 else {"terminated": {"exitCode": code}}
    made = pod(phase, containerStatuses=container(**state))
    notes = {"batch.kubernetes.io/job-completion-index": str(number)}
    made["metadata"] = {"annotations": notes, "creationTimestamp": came}
    return made


def test_pod_that_came_in_place_of_another_counts_in_its_place():
    first = numbered(0, "Failed", "2026-01-01T00:00:00Z", 137)
    second = numbered(0, "Failed", "2026-01-01T00:01:00Z", 137)
    third = numbered(0, "Pending", "2026-01-01T00:01:00Z")  # in the same second
    assert latest([third, first, second]) == [third]
    assert latest([second, first]) == [second]
    other = numbered(1, "Running")
    assert latest([other, third, first]) == [third, other]


def test_pod_that_broke_comes_before_those_that_were_told_to_leave():
    left, well = numbered(0, "Failed", code=LEFT), numbered(1, "Succeeded", code=0)
    broke, lost = numbered(2, "Failed", code=137), numbered(3, "Failed")
    assert latest([left, well, broke, lost]) == [broke, lost, left, well]
