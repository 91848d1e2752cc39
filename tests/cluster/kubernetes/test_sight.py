"""What objects of a cluster say of an island, in the shapes that clusters give them."""

from __future__ import annotations

import pytest

from cluster.kubernetes.sight import Sight

AT_WORK = {"metadata": {}, "spec": {}}
FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}


def pod(phase: str, **status) -> dict:
    return {"metadata": {}, "status": {"phase": phase, **status}}


def container(**state) -> list[dict]:
    return [{"name": "agent", "state": state}]


def over(*conditions: dict) -> dict:
    return {"metadata": {}, "status": {"conditions": list(conditions)}}


def disrupted(reason: str, message: str) -> list[dict]:
    said = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return [{"type": "Ready", "status": "False"}, said]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"reason": "Completed", "exitCode": 0}, "exited with code 0"),
        ({"reason": "Error", "exitCode": 5}, "exited with code 5"),
        ({"reason": "Error", "exitCode": 143}, "killed by signal 15 (SIGTERM)"),
        ({"reason": "OOMKilled", "exitCode": 137}, "it ran out of memory"),
        (
            {"reason": "StartError", "exitCode": 128, "message": "no such file"},
            "its container ended (StartError): no such file",
        ),
        (
            {"reason": "ContainerStatusUnknown", "exitCode": 137, "message": "not be located"},
            "its container ended (ContainerStatusUnknown): not be located",
        ),
    ],
)
def test_end_is_told_by_the_container(status, words):
    ended = pod("Failed", containerStatuses=container(terminated=status))
    assert Sight(over(FAILED), (), [ended]).end == words


def test_end_is_told_by_the_pod_where_no_container_began():
    ended = pod("Failed", reason="UnexpectedAdmissionError", message="no devices left")
    told = Sight(over(FAILED), (), [ended]).end
    assert told == "its pod failed (UnexpectedAdmissionError): no devices left"


def test_end_is_told_by_the_job_where_no_pod_is_left():
    assert Sight(over(FAILED), [over(FAILED)], ()).end == "its job failed: limit"
    complete = {"type": "Complete", "status": "True"}
    assert Sight(over(FAILED), [over(complete)], ()).end == "exited with code 0"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("PreemptionByScheduler", "it was preempted: by them"),
        ("TerminationByKubelet", "its node ended it: by them"),
        ("SomethingNew", "its pod was taken (SomethingNew): by them"),
    ],
)
def test_notice_tells_who_takes_a_pod(reason, words):
    sight = Sight(AT_WORK, (), [pod("Running", conditions=disrupted(reason, "by them"))])
    assert sight.is_alive
    assert sight.notice == words


@pytest.mark.parametrize(
    ("jobset", "pods", "alive", "waiting"),
    [
        (AT_WORK, [], True, True),
        (AT_WORK, [pod("Pending")], True, True),
        (AT_WORK, [pod("Running")], True, False),
        (AT_WORK, [pod("Failed")], True, False),  # its JobSet has not heard of it yet
        (over(FAILED), [pod("Failed")], False, False),
        (over(FAILED), [pod("Running")], True, False),  # it still has time
        ({}, [pod("Running")], True, False),
        ({}, [], False, False),
        (AT_WORK, [pod("Running"), pod("Pending")], True, False),
        (AT_WORK, [pod("Pending"), pod("Pending")], True, True),
        (AT_WORK, [pod("Failed"), pod("Failed")], True, False),  # others come in their place
        (over(FAILED), [pod("Failed"), pod("Running")], True, False),
    ],
)
def test_island_lives_while_anything_of_it_runs_or_may_come_to(jobset, pods, alive, waiting):
    sight = Sight(jobset, (), pods)
    assert (sight.is_alive, sight.is_waiting) == (alive, waiting)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError"])
def test_container_that_never_starts_is_an_obstacle(reason):
    waiting = container(waiting={"reason": reason, "message": "why"})
    sight = Sight(AT_WORK, (), [pod("Pending", containerStatuses=waiting)])
    assert not sight.is_alive
    assert sight.obstacle == f"its container does not start: {reason}: why"


@pytest.mark.parametrize(("other", "alive"), [("Running", True), ("Failed", False)])
def test_container_that_never_starts_is_no_obstacle_while_another_runs(other, alive):
    waiting = container(waiting={"reason": "ImagePullBackOff", "message": "why"})
    stuck = pod("Pending", containerStatuses=waiting)
    sight = Sight(AT_WORK, (), [pod(other), stuck])
    assert sight.is_alive is alive
    assert sight.waits_for == "ImagePullBackOff: why"


def test_notice_to_one_of_several_pods_is_none_to_the_island():
    taken = pod("Failed", conditions=disrupted("EvictionByEvictionAPI", "drain"))
    assert Sight(AT_WORK, (), [taken, pod("Running")]).notice == ""
    assert Sight(AT_WORK, (), [taken, taken]).notice == "it was evicted: drain"


def test_end_of_several_pods_is_told_by_all_of_them():
    ended = [
        pod("Failed", containerStatuses=container(terminated={"exitCode": code}))
        for code in (137, 6, 6)
    ]
    told = Sight(over(FAILED), (), ended).end
    assert told == "killed by signal 9 (SIGKILL); exited with code 6"


def test_container_that_is_being_made_is_waited_for():
    waiting = container(waiting={"reason": "ErrImagePull", "message": "try 1"})
    sight = Sight(AT_WORK, (), [pod("Pending", containerStatuses=waiting)])
    assert sight.is_alive
    assert sight.waits_for == "ErrImagePull: try 1"


def test_warning_counts_while_there_is_no_pod():
    assert not Sight(AT_WORK, (), (), ["exceeded quota"]).is_alive
    assert Sight(AT_WORK, (), [pod("Pending")], ["exceeded quota"]).is_alive
    assert Sight(AT_WORK, (), [pod("Running")], ["no quota"]).waits_for == "a pod: no quota"
