"""How SkyPilot's answers are read; the longer ones were printed by SkyPilot 0.14.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from atoll.errors import IslandError
from cluster.skypilot import command
from cluster.skypilot.command import Sky, json_in, sentence_of

BLIND = """Fetching job queue for: a, b
Failed to get the job queue for cluster 'a'.
  sky.exceptions.ClusterNotUpError: Cluster 'a' has been stopped or not properly set up.
{
  "b": []
}
"""
NO_ROOM = """sky.exceptions.ResourcesUnavailableError: Failed to provision all possible launchable \
resources. Relax the task's resource requirements: 1x AWS([Spot], {'H100': 8})
To keep retrying until the cluster is up, use the `--retry-until-up` flag.
Reasons for provision failures (for details, please check the log above):
Provision failures (tried 2 infra):

✗ AWS (us-east-1) — (gpus=H100:8, ...)
  Found no quota for p5.48xlarge spot instances in region us-east-1 in AWS.

✗ GCP (us-central1-a) — (gpus=H100:8, ...)
  Failed to acquire resources in us-central1-a for {GCP([Spot], {'H100': 8})}.
  Reason: ZONE_RESOURCE_POOL_EXHAUSTED
"""
UNPREPARED = """RuntimeError: Failed to run setup commands on an instance. (exit code 1). Error: \
===== stdout =====
curl: (6) Could not resolve host: astral.sh
"""


def program(folder: Path, lines: str) -> Sky:
    path = folder / "sky"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return Sky(str(path))


def test_json_is_found_below_what_else_is_printed():
    assert json_in(BLIND) == {"b": []}
    assert json_in("[yellow] no answer\n[]\n") == []
    assert json_in("Traceback") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            NO_ROOM,
            "Failed to provision all possible launchable resources: AWS (us-east-1): Found no "
            "quota for p5.48xlarge spot instances in region us-east-1 in AWS.; GCP "
            "(us-central1-a): Failed to acquire resources in us-central1-a for "
            "{GCP([Spot], {'H100': 8})}. Reason: "
            "ZONE_RESOURCE_POOL_EXHAUSTED",
        ),
        (
            UNPREPARED,
            "Failed to run setup commands on an instance. (exit code 1). Error: curl: (6) Could "
            "not resolve host: astral.sh",
        ),
        ("Usage: sky\n\nError: No such option: -y\n", "Error: No such option: -y"),
        ("\n", "it says nothing"),
    ],
    ids=["no room", "unprepared", "usage", "silence"],
)
def test_what_went_wrong_is_told_in_a_sentence(text, sentence):
    assert sentence_of(text) == sentence


def test_answer_that_is_none_is_told(tmp_path):
    sky = program(tmp_path, "echo upgrade me")
    with pytest.raises(IslandError, match="sky status: its answer is not understood: upgrade me"):
        sky.ask("status")


def test_answer_without_colours(tmp_path):
    assert program(tmp_path, r"printf '\033[33mred\033[0m'").tell("status") == "red"


def test_silence_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_ANSWER_S", 0.05)
    with pytest.raises(IslandError, match="sky status does not answer"):
        program(tmp_path, "exec sleep 60").tell("status")
