"""The digits with the real trainers: killed, interrupted, damaged, and what is left in the end."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from experts.files import EMA, HISTORY, STATE

pytestmark = pytest.mark.timeout(600)  # a trainer starts within seconds, or within a minute


def files_of(folder):
    """Every file below a folder, with what tells whether it was written to."""
    stats = {path: path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def compared(checkpoint):
    """The averaged weights, but for the biases of attention's keys.

    Softmax cancels whatever is added to all keys alike. So their gradient is rounding and nothing
    else, and AdamW makes steps of full length out of it.
    """
    weights = load_file(checkpoint / EMA)
    for name in [name for name in weights if name.endswith("attn.qkv.bias")]:
        query, _, value = weights[name].chunk(3)
        weights[name] = torch.cat((query, value))
    return weights


def losses(checkpoint):
    return [point["loss"] for point in json.loads((checkpoint / HISTORY).read_text())]


def test_digits_run_whose_trainer_and_agent_are_killed_ends_with_the_same_weights(
    digits, undisturbed_digits, until
):
    command = digits.launch("run")
    until(lambda: digits.committed("expert-0") >= 20)
    (trainer,) = digits.ranks_of("expert-0")
    assert digits.listening() == {"127.0.0.1"}
    trainer.kill()
    until(lambda: digits.committed("router") >= 20)
    agent = digits.agent_of("router")
    agent.kill()
    told = digits.finish(command)
    assert command.returncode == 0, told
    assert digits.weights() == undisturbed_digits.weights()
    results = digits.results()
    assert results["expert-0"].epoch == 1  # its island started the trainer anew by itself
    assert results["router"].epoch == 2
    why = {(event.kind, event.job): event.reason for event in digits.events()}
    assert "killed by signal 9 (SIGKILL)" in why["trainer-restarted", "expert-0"]
    assert "killed by signal 9 (SIGKILL)" in why["island-gone", "router"]
    assert (digits.uri / "report.html").exists()
    digits.wait_for_its_end()


def test_digits_router_on_two_processes_survives_a_rank_and_learns_what_one_does(
    digits, undisturbed_digits, until
):
    digits.take_partition(undisturbed_digits)
    digits.overrides = ["island.processes=2"]
    command = digits.launch("route")
    until(lambda: digits.committed("router"))
    ranks = digits.ranks_of("router")
    assert len(ranks) == 2
    assert digits.listening() == {"127.0.0.1"}
    ranks[1].kill()
    told = digits.finish(command)
    assert command.returncode == 0, told
    assert digits.results()["router"].epoch == 1
    broke = next(event for event in digits.events() if event.kind == "trainer-restarted")
    assert broke.reason.startswith("rank 1 was killed by signal 9 (SIGKILL); its trainer")
    both, one = (run.checkpoint("router") for run in (digits, undisturbed_digits))
    assert_close(compared(both), compared(one), rtol=0, atol=1e-4)
    assert losses(both) == pytest.approx(losses(one), abs=1e-4)
    digits.wait_for_its_end()


def test_digits_router_on_two_processes_is_traced_while_it_goes_on(
    digits, undisturbed_digits, until, tmp_path
):
    digits.take_partition(undisturbed_digits)
    digits.overrides = ["island.processes=2", "router.steps=100000"]
    digits.launch("route")
    until(lambda: digits.committed("router") >= 10)
    file = tmp_path / "trace.json"
    told = json.loads(digits.atoll("profile", "router", "--steps", "3", "-o", str(file), "--json"))
    calls = {row["operator"]: row["calls"] for row in told["operators"]}
    assert calls["aten::_fused_adamw_"] == 3
    names = {event["name"] for event in json.loads(file.read_text())["traceEvents"]}
    assert "gloo:all_reduce" in names
    traced_at = int(told["key"].partition("/step-")[2][:8])
    until(lambda: digits.committed("router") > traced_at)


@pytest.fixture
def damaged(digits, undisturbed_digits):
    """A finished run; in two of its checkpoints a byte is not what was written."""
    shutil.copytree(undisturbed_digits.uri, digits.uri)
    flip_a_byte(digits.checkpoint("expert-0") / EMA)
    (state,) = (digits.checkpoint("router") / STATE).glob("*.safetensors")
    flip_a_byte(state)
    return digits


def test_digits_found_damaged_are_trained_again_to_the_same_weights(damaged, undisturbed_digits):
    for stage, job in (("train", "expert-0"), ("route", "router")):
        command = damaged.launch(stage, "--verify")
        told = damaged.finish(command)
        assert command.returncode == 0, told
        assert f"{job} is trained again: checkpoint at step " in told
        lost = next(e for e in damaged.events() if (e.kind, e.job) == ("checkpoint-damaged", job))
        steps = undisturbed_digits.results()[job].step
        assert lost.reason.startswith(
            f"step {steps} is lost, the job goes on from step {steps - 10} of epoch 1: "
        )
        damaged.wait_for_its_end()
    assert damaged.weights() == undisturbed_digits.weights()
    assert damaged.launch("train", "--verify").wait(timeout=60) == 0
    assert not damaged.processes()


def test_digits_sampled_from_a_damaged_checkpoint_is_one_line_that_names_it(damaged):
    command = damaged.launch("sample")
    told = damaged.finish(command)
    assert command.returncode == 1, told
    (line,) = told.splitlines()
    assert line.startswith(f"atoll: checkpoint at step {damaged.steps}: ")
    assert f"{damaged.results()['expert-0'].key}/{EMA} is damaged" in line
    assert line.endswith("; `atoll train --verify` trains it again from the one before")


def test_digits_checkpoints_are_listed_with_what_keeps_them_and_what_is_damaged(damaged):
    command = damaged.command("checkpoints", "--verify", "--json")
    listed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert listed.returncode == 1
    assert "`atoll train --verify`" in listed.stderr
    rows = json.loads(listed.stdout)
    by_job = {job: [row for row in rows if row["job"] == job] for job in ("expert-0", "router")}
    assert [row["step"] for row in by_job["expert-0"]][-5:] == [60, 70, 80, 90, 100]
    assert {"newest", "stage"} <= set(by_job["expert-0"][-1]["kept_as"].split(", "))
    assert by_job["expert-0"][-1]["verified"] == "damaged"
    assert f"{EMA} is damaged" in listed.stderr
    assert {row["verified"] for row in by_job["expert-0"][:-1]} == {"whole"}
    assert any("best" in row["kept_as"] for row in by_job["expert-0"])


def test_digits_collected_keep_the_newest_and_go_on_from_it(damaged):
    damaged.overrides = ["checkpoints.keep_last=1", "checkpoints.keep_best=0"]
    collected = [event for event in damaged.events() if event.kind == "checkpoints-collected"]
    would = json.loads(damaged.atoll("collect", "--dry-run", "--json"))
    before = {path for path in damaged.uri.rglob("*") if path.is_file()}
    gone = json.loads(damaged.atoll("collect", "--json"))
    after = {path for path in damaged.uri.rglob("*") if path.is_file()}
    assert gone == would
    assert {row["job"] for row in gone} == {"expert-0", "expert-1", "router"}
    lost = [path for path in before - after if "checkpoints" in path.parts]
    assert len(lost) == sum(row["files"] for row in gone)
    assert all(damaged.checkpoint(job).is_dir() for job in damaged.results())
    assert json.loads(damaged.atoll("collect", "--json")) == []
    kinds = [event.kind for event in damaged.events()]
    assert kinds.count("checkpoints-collected") == len(collected) + 3


def test_digits_run_can_be_asked_and_sampled_afterwards(undisturbed_digits, tmp_path):
    run = undisturbed_digits
    jobs = {row["job"]: row for row in json.loads(run.atoll("status", "--json"))["jobs"]}
    assert jobs.keys() == {"expert-0", "expert-1", "router"}
    assert {row["state"] for row in jobs.values()} == {"done"}
    assert (jobs["expert-0"]["committed"], jobs["expert-0"]["leases"]) == (run.steps, 1)
    assert run.results()["expert-0"].key in run.atoll("logs", "expert-0")
    drawn = json.loads(run.atoll("sample", "--json", "--num", "3", "--out", str(tmp_path)))
    assert [row["seed"] for row in drawn] == [0, 1, 2]
    assert {row["image"] for row in drawn} < {str(path) for path in tmp_path.iterdir()}


def test_digits_trained_already_starts_no_process(undisturbed_digits):
    before = files_of(undisturbed_digits.folder())
    command = undisturbed_digits.launch("train")
    told = undisturbed_digits.finish(command)
    assert command.returncode == 0, told
    assert told == "already trained: expert-0, expert-1\n"
    assert files_of(undisturbed_digits.folder()) == before
    assert not undisturbed_digits.processes()
