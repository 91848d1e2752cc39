"""What befalls islands on SkyPilot, whose program and nodes are scripted."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError, IslandError
from cluster.provider import Node, NodeSpec
from cluster.skypilot import task
from cluster.skypilot.provider import SkypilotProvider
from tests.skypilot import scripted
from tests.skypilot.scripted import clusters, let, preempt

LABEL = "runs/digits"
SPEC = NodeSpec("island-1", LABEL, ("--orchestrator", "127.0.0.1:1", "--run", "r"), 0)
QUOTA = "Found no quota for p5.48xlarge spot instances in region us-east-1 in AWS."


@pytest.fixture
def sky(tmp_path) -> Iterator[Path]:
    """The folder in which the scripted program keeps what it knows."""
    folder = scripted.install(tmp_path / "sky").parent
    yield folder
    scripted.stop(folder)


@pytest.fixture
def make(sky, tmp_path) -> Callable[..., SkypilotProvider]:
    idle = sky / "idle"  # an agent that says who it is and how it was called, and does nothing
    idle.write_text('#!/bin/sh\necho $$ >~/agent.pid\necho "$*"\nexec sleep 1000\n')
    idle.chmod(0o755)

    def make(*keys: str, place: str = "here") -> SkypilotProvider:
        known = [f"skypilot.command={sky / 'sky'}", f"skypilot.python={idle}"]
        return SkypilotProvider(read_config(None, [*known, *keys]), LABEL, tmp_path / place)

    return make


def seen(provider: SkypilotProvider, holds: Callable[[Node], bool]) -> Node:
    """The only node, once something holds of it."""
    give_up_at = time.monotonic() + 30
    while True:
        (node,) = provider.list(LABEL)
        if holds(node):
            return node
        assert time.monotonic() < give_up_at, node
        time.sleep(0.2)


def runs(node: Node) -> bool:
    return node.alive and not node.waiting


def is_dead(node: Node) -> bool:
    return not node.alive


@pytest.mark.parametrize(
    ("key", "misfortunes", "told"),
    [
        ("command=/no/sky", {}, r'skypilot\.command = "/no/sky" is no program'),
        ("wheel=/no/wheel", {}, r"skypilot\.wheel: there is no /no/wheel"),
        ("spot=true", {"no_cloud": True}, "Cloud access is not set up. Run: sky check"),
        ("cpus=1000", {}, "SkyPilot takes no such task: sky launch: Catalog does not contain any"),
    ],
    ids=["no program", "no wheel", "no credentials", "impossible resources"],
)
def test_skypilot_refuses_what_can_never_run(sky, make, key, misfortunes, told):
    let(sky, **misfortunes)
    with pytest.raises(ConfigError, match=told):
        make(f"skypilot.{key}").validate(SPEC)
    assert clusters(sky) == []


def test_accelerators_of_any_choice_are_enough_for_the_processes(make):
    provider = make('skypilot.any_of=["H100:8", "L4:4"]')
    assert provider.capabilities().num_gpus == 4
    provider.validate(NodeSpec("island-1", LABEL, (), 4))


def test_node_comes_up_on_demand_at_the_next_place_where_the_first_has_no_quota(sky, make):
    refuse = {"aws/us-east-1 spot": QUOTA, "gcp spot": QUOTA, "aws/us-east-1 on-demand": QUOTA}
    let(sky, refuse=refuse)
    provider = make('skypilot.places=["aws/us-east-1", "gcp"]')
    assert provider.submit(SPEC, "key").waiting
    assert seen(provider, runs).reason == ""
    assert [row["place"] for row in clusters(sky)] == ["gcp on-demand"]


def test_node_without_quota_anywhere_ends_with_what_each_place_said(sky, make):
    let(sky, refuse={"aws spot": QUOTA, "aws on-demand": "Failed to acquire resources in aws."})
    provider = make('skypilot.places=["aws"]')
    provider.submit(SPEC, "key")
    reason = seen(provider, is_dead).reason
    assert reason.startswith("could not be started: Failed to provision all possible")
    assert QUOTA in reason
    assert "aws on-demand: Failed to acquire resources" in reason
    assert clusters(sky) == []
    # It stays dead, and costs no more questions.
    assert not provider.list(LABEL)[0].alive


def test_preempted_node_is_dead_and_leaves_nothing(sky, make):
    provider = make()
    provider.submit(SPEC, "key")
    seen(provider, runs)
    preempt(sky, "island-1")
    assert seen(provider, is_dead).reason == "preempted, or its cluster was taken down by others"
    provider.cancel("island-1")
    (node,) = provider.list(LABEL)
    assert (node.cleared, node.reason) == (
        True,
        "preempted, or its cluster was taken down by others",
    )


def test_node_whose_setup_fails_ends_with_its_last_words(sky, make):
    provider = make("skypilot.setup=echo no such module >&2; exit 7")
    provider.submit(SPEC, "key")
    reason = seen(provider, is_dead).reason
    assert reason == "its setup failed, and wrote last: no such module"
    assert clusters(sky) == []
    provider.cancel("island-1")
    assert provider.list(LABEL)[0].cleared
    assert provider.logs("island-1", 5) == "no such module\n"


def test_node_that_skypilot_cannot_set_up_is_taken_down_before_it_is_dead(sky, make):
    let(sky, unprepared=True, undying=1)  # its cloud counts it as up, and bills it
    provider = make()
    provider.submit(SPEC, "key")
    assert "Failed to run setup commands" in seen(provider, is_dead).reason
    assert clusters(sky) == []
    assert (sky / "calls").read_text().count("down --yes") == 2


def test_node_that_skypilot_cannot_look_into_is_as_it_was_told_last(sky, make):
    provider = make()
    provider.submit(SPEC, "key")
    seen(provider, runs)
    let(sky, blind=["queue"])
    assert runs(provider.list(LABEL)[0])


@pytest.mark.parametrize("command", ["status", "queue", "api status"])
def test_answer_that_is_not_understood_buries_nobody(sky, make, command):
    provider = make()
    provider.submit(SPEC, "key")
    if command == "queue":  # of a node that is up
        seen(provider, runs)
    let(sky, garbage={command: "<html>502 Bad Gateway</html>"})
    with pytest.raises(IslandError, match="not understood: <html>502"):
        provider.list(LABEL)
    let(sky)
    assert seen(provider, runs).alive


def test_node_is_there_once_its_cluster_is_up_and_waits_until_it_is_set_up(sky, make):
    let(sky, held=True)
    provider = make(f"skypilot.setup=until [ -e {sky / 'go'} ]; do sleep 0.05; done")
    provider.submit(SPEC, "key")
    made = seen(provider, lambda _: bool(clusters(sky)))
    assert (made.waiting, made.is_there) == (True, False)
    let(sky)
    up = seen(provider, lambda node: node.is_there)
    assert (up.waiting, up.in_setup) == (True, True)
    (sky / "go").touch()
    at_work = seen(provider, runs)
    assert (at_work.in_setup, at_work.is_there) == (False, True)


def test_node_cancelled_while_it_is_made_never_comes(sky, make):
    let(sky, held=True)
    provider = make()
    provider.submit(SPEC, "key")
    assert seen(provider, lambda node: bool(clusters(sky))).waiting
    provider.cancel("island-1")
    let(sky)
    assert clusters(sky) == []
    assert [json.loads(path.read_text())["status"] for path in (sky / "requests").iterdir()] == [
        "CANCELLED"
    ]
    assert provider.list(LABEL)[0].cleared


def test_node_that_cannot_be_taken_down_is_not_taken_for_gone(sky, make):
    provider = make()
    provider.submit(SPEC, "key")
    seen(provider, runs)
    let(sky, undying=1)
    with pytest.raises(IslandError, match="is still there"):
        provider.cancel("island-1")
    assert not provider.list(LABEL)[0].cleared
    provider.cancel("island-1")
    assert clusters(sky) == []


def test_orchestrator_on_another_machine_finds_and_stops_the_nodes(sky, make):
    first = make()
    first.submit(SPEC, "key")
    seen(first, runs)
    other = make(place="there")
    assert seen(other, runs).island == "island-1"
    assert other.submit(SPEC, "key").alive
    with pytest.raises(IslandError, match="never reused"):
        other.submit(SPEC, "another key")
    assert len(clusters(sky)) == 1
    other.cancel("island-1")
    assert clusters(sky) == []


def test_token_is_kept_here_only_until_the_node_has_it(sky, make, tmp_path):
    let(sky, held=True)
    provider = make()
    provider.submit(replace(SPEC, token="hush hush"), "key")  # noqa: S106
    kept = tmp_path / "here" / "island-1" / "join-token.pem"
    assert kept.read_text() == "hush hush"
    assert kept.stat().st_mode & 0o777 == 0o600
    let(sky)
    seen(provider, runs)
    assert not kept.exists()
    for path in (*(tmp_path / "here").rglob("*.*"), sky / "calls"):
        assert "hush hush" not in path.read_text()


@pytest.fixture
def pair(sky, make, monkeypatch) -> SkypilotProvider:
    """Whose island of two nodes runs, and whose agents are started again once."""
    monkeypatch.setattr(task, "_PAUSES_S", (0.1,))
    provider = make()
    provider.submit(replace(SPEC, num_nodes=2), "key")
    until_told(provider, "node-0: ")
    until_told(provider, "node-1: ")
    return provider


def until_told(provider: SkypilotProvider, words: str, times: int = 1) -> str:
    """What the agents wrote, once it has words so many times."""
    give_up_at = time.monotonic() + 30
    while (text := provider.logs("island-1", 100)).count(words) < times:
        assert time.monotonic() < give_up_at, text
        time.sleep(0.1)
    return text


def signal_agent(sky: Path, machine: str, number: int) -> None:
    (path,) = sky.glob(f"nodes/*/{machine}/agent.pid")
    os.kill(int(path.read_text()), number)


def test_nodes_of_an_island_are_one_cluster_that_goes_when_all_agents_have_left(sky, pair):
    text = pair.logs("island-1", 100)
    for node in ("node-0", "node-1"):
        assert f"{node}: -P -m atoll agent" in text
        assert f"--island island-1 --node {node} --work-dir" in text
    assert [row["nodes"] for row in clusters(sky)] == [2]
    for machine in ("head", "worker1"):
        signal_agent(sky, machine, signal.SIGTERM)
    assert seen(pair, is_dead).reason == "killed by signal 15 (SIGTERM)"
    assert clusters(sky) == []


def test_agent_that_breaks_is_started_again_and_its_end_is_not_that_of_the_others(sky, pair):
    signal_agent(sky, "worker1", signal.SIGKILL)
    again = "node-1: atoll: the agent exited with code 137, and is started again in 0.1 s\n"
    assert again in until_told(pair, "--node node-1", times=2)
    signal_agent(sky, "worker1", signal.SIGKILL)
    (log,) = sky.glob("nodes/*/job.log")
    give_up_at = time.monotonic() + 30
    while task.ENDED not in log.read_text():
        assert time.monotonic() < give_up_at
    signal_agent(sky, "head", signal.SIGTERM)  # killed with the other it would not say how it ended
    ends = ("killed by signal 9 (SIGKILL)", "killed by signal 15 (SIGTERM)")
    assert seen(pair, is_dead).reason == "; ".join(ends)


def test_island_that_lost_a_machine_is_over_and_its_others_are_taken_down(sky, pair):
    preempt(sky, "island-1", "worker1")
    assert seen(pair, is_dead).reason == "one of its machines was preempted, or stopped by others"
    assert clusters(sky) == []
