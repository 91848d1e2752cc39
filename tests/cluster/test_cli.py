"""How the command ends that an island's node runs."""

from __future__ import annotations

import subprocess
import sys


def test_agent_that_is_told_to_leave_ends_with_the_code_it_was_given_for_that(tmp_path):
    where = ["--orchestrator", "127.0.0.1:1", "--run", "run", "--island", "island-1"]
    how = ["--work-dir", tmp_path, "--left-code", "6"]
    agent = [sys.executable, "-m", "atoll", "agent", *where, *how]
    with subprocess.Popen(agent, stderr=subprocess.PIPE, text=True) as process:
        assert "does not answer" in process.stderr.readline()
        process.terminate()
        process.communicate()
    assert process.returncode == 6
