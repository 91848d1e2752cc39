"""Commands of an operator whose machine shares nothing with the orchestrator's but the store.

Two working directories stand for two machines: neither has the other's state.
"""

from __future__ import annotations

import contextlib
import json
import shutil

import pytest

from atoll.__main__ import main
from tests.integration.runs import make_certificates

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def run(make_run, bucket, tmp_path, monkeypatch):
    """A run in a bucket, whose orchestrator asks for certificates."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    tls = tmp_path / "tls"
    make_certificates(tls, "--operator", "alice")
    secured = [f"orchestrator.tls={tls}"]
    steps = {"steps": 3000, "options": "--step-s 0.05 --every 10"}
    return make_run(f"{bucket}/some/run", overrides=secured, **steps)


@pytest.fixture
def alice(run, tmp_path, capsys):
    """What a command prints on a machine where nothing is but alice's certificates.

    Called in this process, which has made the imports already.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(tmp_path / "tls" / "operators" / "alice", elsewhere / "alice")

    def call(*words: str, uri: str = "", code: int = 0, tls: str = "alice") -> str:
        settings = [f"run.uri={uri or run.uri}", f"orchestrator.tls={tls}"]
        options = [word for setting in settings for word in ("--set", setting)]
        capsys.readouterr()
        with contextlib.chdir(elsewhere), pytest.raises(SystemExit) as ended:
            main([*words, *options])
        told = capsys.readouterr()
        assert ended.value.code == code, told.err
        return told.err if code else told.out

    yield call
    assert [path.name for path in elsewhere.iterdir()] == ["alice"]  # and nothing was left there


def test_run_is_looked_at_and_steered_from_another_machine(run, alice, until):
    run.launch()
    until(lambda: run.committed("expert-0") >= 20 and run.committed("expert-1") >= 20)
    status = json.loads(alice("status", "--json"))
    assert [job["state"] for job in status["jobs"]] == ["leased", "leased"]
    events = [json.loads(line) for line in alice("events", "--json").splitlines()]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert {"lease-granted", "checkpoint-committed"} <= {event["kind"] for event in events}
    assert "published step 20" in alice("logs", "expert-0")
    assert "checkpoint committed" in alice("logs", run.jobs()["expert-0"].island)
    paused = json.loads(alice("pause", "expert-0", "--reason", "from afar", "--json"))
    assert "from afar" in paused[0]["why"]
    until(lambda: run.jobs()["expert-0"].state == "paused")
    alice("resume", "expert-0")
    until(lambda: run.jobs()["expert-0"].state == "leased")
    alice("cancel", "expert-1")
    until(lambda: run.jobs()["expert-1"].state == "cancelled")
    alice("retry", "expert-1")
    alice("drain")
    run.wait_for_its_end()
    told = alice("status", code=2)
    assert "is written down on" in told
    assert str(run.folder()) in told
    assert "nothing is at work" in alice("pause", code=2)


def test_copy_of_a_run_steers_its_copy_alone(run, alice, until, bucket):
    import boto3

    run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    name = bucket.removeprefix("s3://")
    client = boto3.client("s3")
    until(lambda: "orchestrator.json" in str(client.list_objects_v2(Bucket=name)))
    for found in client.list_objects_v2(Bucket=name)["Contents"]:
        copied = found["Key"].replace("some/run", "a/copy")
        client.copy({"Bucket": name, "Key": found["Key"]}, name, copied)
    assert "nothing is at work" in alice("pause", uri=f"{bucket}/a/copy", code=2)
    assert all(job.state == "leased" for job in run.jobs().values())
    assert "orchestrator.tls" in alice("pause", tls="", code=2)
    assert "operator.crt does not exist" in alice("pause", tls="bob", code=2)


def test_run_whose_orchestrator_was_killed_is_said_not_to_answer(run, alice, until):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    assert "expert-0" in alice("status")
    launcher.kill()
    run.orchestrator().kill()
    told = alice("pause", code=1)
    assert "the run's orchestrator serves on" in told
    assert "or did until it was killed" in told
    # Its own machine knows better.
    called = run.call("pause")
    assert "nothing is at work" in called.stderr
