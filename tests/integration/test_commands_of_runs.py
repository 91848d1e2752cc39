"""What a user meets: interrupting, going on, mending, and being told what is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from atoll import layout
from cluster import processes
from tests.integration.runs import Run

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of 20 steps that was made once, for all who begin where it ends."""
    run = Run(tmp_path_factory.mktemp("finished") / "run", steps=20)
    try:
        launcher = run.launch()
        told = run.finish(launcher)
        assert launcher.returncode == 0, told
        run.wait_for_its_end()
        yield run.uri
    finally:
        run.stop()


@pytest.fixture
def done(finished, tmp_path):
    """A finished run of its own, under its own address."""
    shutil.copytree(finished, tmp_path / "done")
    run = Run(tmp_path / "done", steps=20)
    yield run
    run.stop()


def test_run_interrupted_drains_and_the_same_command_goes_on(run, until, undisturbed):
    run.steps = 200  # it shall not be done before it is interrupted
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    launcher.send_signal(signal.SIGINT)
    told = run.finish(launcher)
    assert launcher.returncode == 130
    stopped = run.jobs()
    steps = {name: job.checkpoint.step for name, job in stopped.items()}
    assert f"expert-0 at step {steps['expert-0']}, expert-1 at step {steps['expert-1']}" in told
    assert all(job.failures == 0 for job in stopped.values())
    again = run.launch()
    told = run.finish(again)
    assert again.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {2}


def test_run_of_all_interrupted_and_only_trained_then_leaves_the_router_alone(
    run, until, undisturbed
):
    launcher = run.launch("train route")
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    launcher.send_signal(signal.SIGINT)
    run.finish(launcher)
    again = run.launch("train")
    told = run.finish(again)
    assert again.returncode == 0, told
    assert run.weights() == undisturbed(run)
    run.wait_for_its_end()
    granted = {event.job for event in run.events() if event.kind == "lease-granted"}
    assert granted == {"expert-0", "expert-1"}
    run.overrides = ["router.steps=20"]
    last = run.launch("train route")
    told = run.finish(last)
    assert last.returncode == 0, told
    assert run.results()["router"].step == 20


def test_run_interrupted_twice_stops_waiting_for_a_deaf_trainer(run, until):
    run.options += " --deaf"
    run.steps = 5000
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    launcher.send_signal(signal.SIGINT)
    until(lambda: any(event.kind == "draining" for event in run.events()))
    launcher.send_signal(signal.SIGINT)
    assert "stopped waiting" in run.finish(launcher)
    assert launcher.returncode == 130


def test_run_with_a_deaf_trainer_keeps_its_last_checkpoint(run, until):
    run.options += " --deaf"
    run.steps = 5000
    run.overrides = ["island.drain_s=0.5"]
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    launcher.send_signal(signal.SIGINT)
    assert "the same command goes on from there" in run.finish(launcher)
    job = run.jobs()["expert-0"]
    assert job.checkpoint.step >= 10
    assert job.reason.endswith("; no checkpoint within 0.5 s of being asked to drain")


def test_run_that_breaks_says_why_and_goes_on_once_mended(run, tmp_path, undisturbed):
    cause = tmp_path / "cause"
    cause.touch()
    run.options += f" --break-at 30 --while-exists {cause}"
    run.overrides = ["island.max_failures=1", "island.restarts=0"]
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 1
    words = "paused in a crash loop, after 2 failed tries from step 30; the last: step 30 cannot be"
    assert words in told
    cause.unlink()
    again = run.launch()
    told = run.finish(again)
    assert again.returncode == 0, told
    assert run.weights() == undisturbed(run)


def test_run_whose_trainer_cannot_start_is_given_up_with_the_reason(run):
    run.options = "--no-such-option"
    run.overrides = ["island.max_failures=0", "island.restarts=0"]
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 1
    assert "unrecognized arguments: --no-such-option" in told


def test_run_with_other_settings_is_refused_by_key_after_a_checkpoint(run, until):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    launcher.send_signal(signal.SIGINT)
    run.finish(launcher)
    run.overrides = ["expert.width=128"]
    again = run.launch()
    told = run.finish(again)
    assert again.returncode == 2
    assert "expert.width = 64" in told
    assert "128" in told
    before = (run.uri / layout.CONFIG).read_bytes()
    serving = subprocess.run(
        run.command("orchestrator"), capture_output=True, text=True, check=False, timeout=60
    )
    assert serving.returncode == 2
    assert "expert.width = 64" in serving.stderr
    assert (run.uri / layout.CONFIG).read_bytes() == before


def test_run_with_a_lost_checkpoint_says_which_file_is_gone_and_makes_it_again(done, undisturbed):
    key = done.results()["expert-1"].key
    (done.uri / key / "weights").unlink()
    launcher = done.launch()
    told = done.finish(launcher)
    assert launcher.returncode == 0, told
    assert f"expert-1 is trained again: checkpoint at step 20: {key}/weights is missing" in told
    assert done.weights() == undisturbed(done)


def test_run_with_fewer_steps_than_are_done_is_refused(done):
    done.steps = 10
    launcher = done.launch()
    told = done.finish(launcher)
    assert launcher.returncode == 2
    assert "has 20 committed steps already and is asked for 10" in told


def test_run_with_more_steps_goes_on_from_the_end(done, undisturbed):
    done.steps = 40
    launcher = done.launch()
    told = done.finish(launcher)
    assert launcher.returncode == 0, told
    assert done.weights() == undisturbed(done)
    assert {ref.epoch for ref in done.results().values()} == {2}


def test_run_with_more_steps_after_its_database_was_lost_goes_on_from_the_end(done, undisturbed):
    shutil.rmtree(done.folder())
    done.steps = 40
    launcher = done.launch()
    told = done.finish(launcher)
    assert launcher.returncode == 0, told
    assert done.weights() == undisturbed(done)
    assert {ref.epoch for ref in done.results().values()} == {2}
    granted = [event.reason for event in done.events() if event.kind == "lease-granted"]
    assert all(reason.endswith("from step 20") for reason in granted)


def test_run_interrupted_whose_database_was_lost_begins_above_what_it_wrote(
    run, until, undisturbed
):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    launcher.send_signal(signal.SIGINT)
    run.finish(launcher)
    run.wait_for_its_end()
    shutil.rmtree(run.folder())
    again = run.launch()
    told = run.finish(again)
    assert again.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {2}


def test_run_whose_folder_was_moved_goes_on(done, undisturbed, tmp_path):
    done.uri, done.steps = done.uri.rename(tmp_path / "moved"), 40
    launcher = done.launch()
    told = done.finish(launcher)
    assert launcher.returncode == 0, told
    assert done.weights() == undisturbed(done)


def test_run_named_from_another_folder_is_the_same_run(run, until, undisturbed, monkeypatch):
    home = run.uri.parent
    monkeypatch.chdir(home)
    absolute, run.uri = run.uri, Path("run")
    first = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    first.kill()
    (home / "below").mkdir()
    monkeypatch.chdir(home / "below")
    run.uri = Path("../run")
    second = run.launch()
    told = run.finish(second)
    run.uri = absolute
    assert second.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}


def test_run_interrupted_and_given_other_islands_goes_by_them(run, until):
    run.steps = 200
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    launcher.send_signal(signal.SIGINT)
    run.finish(launcher)
    run.overrides = ["island.count=1"]
    again = run.launch()
    until(lambda: any(job.state == "leased" for job in run.jobs().values()))
    assert [job.state for job in run.jobs().values()].count("leased") == 1
    assert len({job.island for job in run.jobs().values() if job.island}) == 1
    assert again.poll() is None


@pytest.mark.parametrize("command", ["train", "status"])
def test_run_with_a_damaged_database_says_which(run, command):
    run.folder().mkdir(parents=True)
    (run.folder() / "orchestrator.db").write_bytes(b"no database at all" * 100)
    if command == "train":
        launcher = run.launch()
        told, code = run.finish(launcher), launcher.returncode
    else:
        called = run.call("status")
        told, code = called.stderr, called.returncode
    assert code == 2
    assert "orchestrator.db cannot be opened (file is not a database)" in told
    assert "Traceback" not in told


def test_orchestrator_interrupted_in_the_foreground_drains_its_islands(run, until):
    run.steps = 3000
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    run.orchestrator().send_signal(signal.SIGINT)
    assert "stopped" in run.finish(launcher)
    run.wait_for_its_end()
    reasons = {event.reason for event in run.events() if event.kind == "draining"}
    assert reasons == {"the orchestrator was interrupted"}


def test_run_on_a_port_in_use_names_it_and_the_key(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run.overrides = [f"orchestrator.listen=127.0.0.1:{port}"]
        launcher = run.launch()
        told = run.finish(launcher)
    assert launcher.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in told


def test_status_and_logs_tell_of_a_run_while_it_works_and_afterwards(run, until):
    run.steps = 5000
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    island = run.jobs()["expert-0"].island
    working = {row["job"]: row for row in json.loads(run.atoll("status", "--json"))["jobs"]}
    assert (working["expert-0"]["state"], working["expert-0"]["island"]) == ("leased", island)
    launcher.send_signal(signal.SIGINT)
    run.finish(launcher)
    processes.kill(run.processes())
    stored = {row["job"]: row for row in json.loads(run.atoll("status", "--json"))["jobs"]}
    assert (stored["expert-0"]["state"], stored["expert-0"]["of"]) == ("paused", 5000)
    assert stored["expert-0"]["committed"] >= 10
    assert '"event": "works on a lease", "job": "expert-0"' in run.atoll("logs", island)
    assert run.atoll("logs", "expert-0", "-n", "1").startswith("left at step")


def test_events_are_told_from_the_database_and_as_they_happen(run, until):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    following = subprocess.Popen(
        run.command("events", "--follow", "--json"), stdout=subprocess.PIPE, text=True
    )
    heard = []
    while not heard or not (heard[-1]["kind"] == "job-done" and heard[-1]["job"] == "expert-1"):
        heard.append(json.loads(following.stdout.readline()))
    following.kill()
    following.communicate()
    run.finish(launcher)
    run.wait_for_its_end()  # the orchestrator's leave is an event, too
    assert [event["number"] for event in heard] == list(range(1, len(heard) + 1))
    told = run.atoll("events", "--after", "3").splitlines()
    assert len(told) == len(run.events()) - 3
    assert any("job-done expert-1" in line and "all 60 steps are done" in line for line in told)


def test_events_of_a_run_that_never_began_name_the_command(run):
    called = run.call("events")
    assert called.returncode == 2
    assert "run `atoll train`" in called.stderr


def test_run_is_steered_while_it_works_and_ends_with_the_same_weights(run, until, undisturbed):
    run.steps, run.options = 600, "--step-s 0.03 --every 10"  # longer than all these commands
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    paused = json.loads(run.atoll("pause", "expert-0", "--reason", "to look at it", "--json"))
    assert paused[0]["why"].endswith("to look at it")
    until(lambda: run.jobs()["expert-0"].state == "paused")
    held = run.jobs()["expert-0"].checkpoint.step
    run.atoll("resume", "expert-0")
    until(lambda: run.committed("expert-0") > held)
    run.atoll("cancel", "expert-0")
    until(lambda: run.jobs()["expert-0"].state == "cancelled")
    run.atoll("retry", "expert-0")
    until(lambda: run.jobs()["expert-0"].state == "leased")
    island = run.jobs()["expert-0"].island
    run.atoll("drain", island)
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    kinds = [event.kind for event in run.events() if event.job == "expert-0"]
    for kind in ("job-pause", "job-resume", "job-cancel", "job-retry", "island-draining"):
        assert kind in kinds
    assert not any(event.kind == "attempt-failed" for event in run.events())


def test_steering_without_anything_at_work_names_the_command(run):
    called = run.call("pause")
    assert called.returncode == 2
    assert "nothing is at work" in called.stderr


def test_watch_as_json_tells_every_change_to_the_end(run, until):
    run.steps, run.overrides = 400, ["island.price_per_hour=2.5"]
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    told = [json.loads(line) for line in run.atoll("watch", "--json").splitlines()]
    run.finish(launcher)
    jobs = [each["job"] for each in told if "job" in each]
    assert {job["job"] for job in jobs if job["state"] == "done"} == {"expert-0", "expert-1"}
    events = [each["event"] for each in told if "event" in each]
    numbers = [event["number"] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert {"job-done", "checkpoint-committed"} <= {event["kind"] for event in events}
    run.wait_for_its_end()
    stored = json.loads(run.atoll("status", "--json"))
    assert stored["node_hours"] > 0
    assert stored["cost"] == pytest.approx(2.5 * stored["node_hours"])


def test_watch_follows_a_run_to_its_end_and_leaves_it_alone(run, until):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    watching = run.call("watch")
    assert watching.returncode == 0, watching.stderr
    assert "expert-0: done, all 60 steps are done" in watching.stderr
    run.finish(launcher)
    assert launcher.returncode == 0
    again = run.call("logs", "nobody")
    assert again.returncode == 2
