"""How the command ends that an island's node runs."""

from __future__ import annotations

import subprocess
import sys

from cluster.exits import LEFT


def test_agent_of_one_node_of_several_that_is_told_to_leave_says_that_others_may_go_on(tmp_path):
    where = ["--orchestrator", "127.0.0.1:1", "--run", "run", "--island", "island-1"]
    agent = [sys.executable, "-m", "atoll", "agent", *where, "--work-dir", tmp_path, "--node", "a"]
    with subprocess.Popen(agent, stderr=subprocess.PIPE, text=True) as process:
        assert "does not answer" in process.stderr.readline()
        process.terminate()
        process.communicate()
    assert process.returncode == LEFT
