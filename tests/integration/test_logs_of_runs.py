"""Reading logs along, through the control plane: wherever a job goes, and to the end."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def follow(run):
    """Follows a log; what it says is read as JSON."""
    started = []

    def start(name: str, *words: str) -> subprocess.Popen[str]:
        command = run.command("logs", name, "--follow", "--json", *words)
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """All that it said until it ended by itself."""
    said = [json.loads(line) for line in process.stdout]
    assert process.wait() == 0, process.stderr.read()
    return said


def test_log_of_a_job_is_followed_to_another_island_and_ends_by_itself(run, until, follow):
    run.steps, run.options = 200, "--step-s 0.04 --every 10"
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    following = follow("expert-0")
    first = [json.loads(following.stdout.readline()) for _ in range(4)]
    assert [(said["epoch"], said["line"]) for said in first] == [
        (1, f"published step {step}") for step in (10, 20, 30, 40)
    ]
    run.agent_of("expert-0").kill()  # and what it had not sent yet is lost with it
    said = told(following)
    launcher.communicate(timeout=90)
    lines = [(said["epoch"], said["line"]) for said in said if "line" in said]
    notes = [said["note"] for said in said if "note" in said]
    second = [line for epoch, line in lines if epoch == 2]
    begin = int(second[0].removeprefix("published step "))
    assert second[:-1] == [f"published step {step}" for step in range(begin, 201, 10)]
    assert second[-1] == "left at step 200"
    late = [line for epoch, line in lines if epoch == 1]
    assert late == [f"published step {step}" for step in range(50, begin, 10)][: len(late)]
    assert any("is gone" in note for note in notes)
    assert any("now, under epoch 2" in note for note in notes)
    assert notes[-1] == "expert-0 is done: all 200 steps are done"


def test_log_is_followed_past_the_end_of_its_orchestrator_without_a_line_twice(run, until, follow):
    run.steps, run.options = 200, "--step-s 0.05 --every 10"
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    following = follow("expert-0")
    assert json.loads(following.stdout.readline())["line"] == "published step 10"
    run.orchestrator().kill()
    said = told(following)
    launcher.communicate(timeout=90)
    assert [said["line"] for said in said if "line" in said] == [
        *(f"published step {step}" for step in range(20, 201, 10)),
        "left at step 200",
    ]
    notes = [said["note"] for said in said if "note" in said]
    assert notes == [
        "no orchestrator answers; waiting for one (Ctrl-C ends this)",
        "expert-0 is done: all 200 steps are done",
    ]


def test_log_of_an_agent_is_told_by_itself_and_ends_when_it_leaves(run, until, follow):
    run.steps, run.options = 400, "--step-s 0.04 --every 10"
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    island = run.jobs()["expert-0"].island
    # It is sent by the agent: no file is needed for it.
    (run.folder() / "islands" / island / "agent.log").unlink()
    shown = run.atoll("logs", island, "-n", "1000").splitlines()
    assert '"event": "works on a lease", "job": "expert-0"' in shown[0]
    assert run.atoll("logs", island, "-n", "1").count("\n") == 1
    said = told(follow(island))
    launcher.communicate(timeout=90)
    events = [json.loads(said["line"])["event"] for said in said if "line" in said]
    assert "gives the lease back" in events
    assert said[-1]["note"] == f"{island} is gone; `atoll events` tells why"


def test_log_of_nobody_is_refused_with_the_names_there_are(run, until):
    run.steps = 5000
    run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    called = run.call("logs", "expert-7", "-f")
    assert called.returncode == 2
    assert "no job or living island is called 'expert-7'; there is expert-0, expert-1" in (
        called.stderr
    )


def test_log_of_what_has_left_comes_from_the_files_of_this_machine(run):
    run.steps = 20
    run.finish(run.launch())
    run.wait_for_its_end()
    assert run.atoll("logs", "expert-0").splitlines() == [
        "published step 10",
        "published step 20",
        "left at step 20",
    ]
    shutil.rmtree(run.folder() / "islands")
    called = run.call("logs", "expert-0")
    assert called.returncode == 2
    assert "nothing is logged on this machine for 'expert-0'" in called.stderr
