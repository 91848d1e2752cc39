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


def test_words_of_the_agent_are_told_from_those_of_skypilot():
    assert agents_words(LOG) == "made ready\nthe agent's words\n"
