"""What SkyPilot's words mean for a node."""

from __future__ import annotations

import pytest

from cluster.skypilot.state import Seen, agents_words

UP, INIT = {"status": "UP"}, {"status": "INIT"}
LOG = """Tailing logs of job 1 on cluster 'atoll-1-island-1'...
(setup pid=9) made ready
(island-1, pid=10) the agent's words
(island-1, pid=10) atoll: the agent has ended with exit code 137
ERROR: Job 1 failed with return code list: [1]
✓ Job finished (status: FAILED).
"""
KILLED = "killed by signal 9 (SIGKILL)"
LOG_OF_TWO = """Tailing logs of job 1 on cluster 'atoll-1-island-1'...
(setup pid=9) made ready
(setup pid=8, ip=10.0.0.5) made ready too
(head, rank=0, pid=10) the leader's words (or some)
(worker1, rank=1, pid=7, ip=10.0.0.5) the other's words
(worker1, rank=1, pid=7, ip=10.0.0.5) atoll: the agent exited with code 137, and is started again
(worker1, rank=1, pid=7, ip=10.0.0.5) atoll: the agent has ended with exit code 137
(head, rank=0, pid=10) atoll: the agent has ended with exit code 0
✓ Job finished (status: SUCCEEDED).
"""
ABNORMAL = "Cluster is abnormal because {}. Transitioned to INIT (details: cluster is unhealthy)."
UNWHOLE = "one of its machines was preempted, or stopped by others"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(None, "", "RUNNING"), ""),
        (Seen(None, "", "WAITING"), ""),
        (Seen(None, "", "FAILED"), "could not be started: no room"),
        (Seen(UP, None, "FAILED"), "could not be started: no room"),
        (Seen(None, "", "CANCELLED"), "its launch was cancelled"),
        (Seen(UP, "PENDING"), ""),
        (Seen(UP, "SETTING_UP"), ""),
        (Seen(UP, "RUNNING"), ""),
        (Seen(UP, "FAILED"), KILLED),
        (Seen(UP, "CANCELLED"), KILLED),
        (Seen(UP, None, "SUCCEEDED"), ""),
        (Seen(UP, "", "SUCCEEDED"), "SkyPilot made its node, and started nothing on it"),
        (Seen(INIT, "", "SUCCEEDED"), ""),
        (Seen(INIT), "its launch was cut short"),
        (Seen(UP), "SkyPilot made its node, and started nothing on it"),
        (Seen({"status": "STOPPED"}), "its node was stopped (STOPPED): preempted, or by others"),
        (Seen(None), "preempted, or its cluster was taken down by others"),
        (Seen(None, "", "SUCCEEDED"), "preempted, or its cluster was taken down by others"),
    ],
    ids=str,
)
def test_end_of_a_node(seen, reason):
    assert seen.end(LOG, "no room") == reason


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("FAILED_SETUP", "its setup failed, and wrote last: no such thing"),
        ("CANCELLED", "its job was cancelled"),
        ("SUCCEEDED", "exited with code 0"),
        ("FAILED_DRIVER", "its job is FAILED_DRIVER, and SkyPilot does not tell why"),
    ],
)
def test_end_of_a_job_whose_agent_said_nothing(job, reason):
    assert Seen(UP, job).end("(setup pid=9) no such thing\n", "") == reason


def test_end_of_several_nodes_is_that_of_each():
    assert Seen(UP, "SUCCEEDED").end(LOG_OF_TWO, "") == f"{KILLED}; exited with code 0"


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("one or more nodes terminated", UNWHOLE),
        ("some but not all nodes are stopped", UNWHOLE),
        ("ray cluster is unhealthy (1/2 ready)", ""),  # all machines are there
    ],
)
def test_cluster_that_lost_a_machine_is_told_from_one_that_skypilot_does_not_reach(why, reason):
    cluster = {**INIT, "init_status_reason": ABNORMAL.format(why)}
    assert Seen(cluster, "", "SUCCEEDED").end("", "") == reason
    assert Seen(cluster, "", "RUNNING").end("", "") == ""


def test_words_of_several_agents_tell_who_said_what():
    assert agents_words(LOG_OF_TWO).splitlines() == [
        "made ready",
        "made ready too",
        "node-0: the leader's words (or some)",
        "node-1: the other's words",
        "node-1: atoll: the agent exited with code 137, and is started again",
    ]


def test_words_of_the_agent_are_told_from_those_of_skypilot():
    assert agents_words(LOG) == "made ready\nthe agent's words\n"
