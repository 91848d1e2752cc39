"""What sacct is understood to say, by its manual: the tests' Slurm has no accounting."""

from __future__ import annotations

from pathlib import Path

import pytest

from atoll.config import Config
from cluster.provider import Node, NodeSpec
from cluster.slurm import SlurmProvider
from cluster.slurm_job import FIELDS

SPEC = NodeSpec("island-1", "run", (), 0)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Has each of Slurm's commands do as it is told, and note that it was asked."""
    commands = tmp_path / "commands"
    commands.mkdir()
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")

    def tell(name: str, lines: str) -> None:
        command = commands / name
        command.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path / name}.asked\n{lines}\n')
        command.chmod(0o755)

    tell("sinfo", "echo elsewhere")
    tell("sbatch", "echo '7;lab'")
    tell("squeue", "")
    return tell


@pytest.fixture
def islands(tmp_path) -> Path:
    return tmp_path / "islands"


def submitted(islands: Path) -> None:
    """By an orchestrator that is no more."""
    SlurmProvider(Config(), "run", islands).submit(SPEC, "key")
    (islands / "island-1" / "work" / "start").mkdir()


def squeue_line(state: str) -> str:
    values = ("7", "island-1", state, "0", "0", "atoll run key")
    return "".join(f"{value:{width}}" for value, width in zip(values, FIELDS.values(), strict=True))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("7|island-1|CANCELLED by 1000|0:0", "it was cancelled"),
        ("7|island-1|COMPLETED|0:0", "exited with code 0"),
        ("7|island-1|FAILED|3:0", "exited with code 3"),
        ("7|island-1|FAILED|0:9", "killed by signal 9 (SIGKILL)"),
        ("7|island-1|NODE_FAIL|1:0", "its node failed"),
        ("7|island-1|OUT_OF_MEMORY|0:125", "it ran out of memory"),
        ("7|island-1|TIMEOUT|0:0", "its time limit has come"),
    ],
    ids=lambda value: value.split("|")[2].split()[0].lower() if "|" in value else "",
)
def test_job_that_squeue_forgot_ended_as_the_accounting_tells(slurm, islands, told, reason):
    submitted(islands)
    slurm("sacct", f"echo '{told}'")
    provider = SlurmProvider(Config(), "run", islands)
    for _ in range(2):
        assert provider.list("run") == (Node("island-1", alive=False, reason=reason),)
    provider.cancel("island-1")
    assert [node.cleared for node in provider.list("run")] == [True]
    slurm("sacct", "exit 1")  # who comes next has nothing to ask
    assert SlurmProvider(Config(), "run", islands).list("run") == ()


@pytest.mark.parametrize(
    "told", ["7|island-1|RUNNING|0:0", "7|other|FAILED|1:0", ""], ids=["lives", "other", "unknown"]
)
def test_job_of_which_nobody_knows_an_end_is_not_told_of(slurm, islands, told):
    submitted(islands)
    slurm("sacct", f"printf '%s' '{told}'")
    assert SlurmProvider(Config(), "run", islands).list("run") == ()


def test_job_of_another_run_is_not_asked_for(slurm, islands, tmp_path):
    submitted(islands)
    slurm("sacct", "echo '7|island-1|FAILED|1:0'")
    assert SlurmProvider(Config(), "run-2", islands).list("run-2") == ()
    assert not (tmp_path / "sacct.asked").exists()


def test_accounting_that_is_not_there_is_asked_once(slurm, islands, tmp_path):
    submitted(islands)
    slurm("sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    provider = SlurmProvider(Config(), "run", islands)
    assert [provider.list("run") for _ in range(3)] == [(), (), ()]
    asked = (tmp_path / "sacct.asked").read_text().splitlines()
    assert len(asked) == 1
    assert "--jobs=7 " in asked[0]


def test_job_that_slurm_started_again_is_the_island_of_its_last_start(slurm, islands):
    submitted(islands)
    (islands / "island-1" / "work" / "start.2").mkdir()
    slurm("sacct", "echo '7|island-1|NODE_FAIL|0:0'")
    (node,) = SlurmProvider(Config(), "run", islands).list("run")
    assert node.island == "island-1.2"


def test_job_that_squeue_tells_no_more_of_is_asked_for_by_who_saw_it(slurm, islands, tmp_path):
    submitted(islands)
    provider = SlurmProvider(Config(), "run", islands)
    slurm("squeue", f"echo '{squeue_line('R')}'")
    assert provider.list("run") == (Node("island-1", alive=True),)
    assert not (tmp_path / "sacct.asked").exists()
    slurm("squeue", "")
    slurm("sacct", "echo '7|island-1|TIMEOUT|0:0'")
    assert [node.reason for node in provider.list("run")] == ["its time limit has come"]


def test_job_that_others_cancelled_is_cleared_once_it_was_tidied_up_after(slurm, islands):
    submitted(islands)
    slurm("squeue", f"echo '{squeue_line('CA')}'")
    provider = SlurmProvider(Config(), "run", islands)
    by_hand = Node("island-1", alive=False, reason="it was cancelled")
    assert provider.list("run") == (by_hand,)
    provider.cancel("island-1")
    assert [node.cleared for node in provider.list("run")] == [True]
