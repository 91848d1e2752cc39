"""What befalls hosts that have an island each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from atoll import __version__
from atoll.errors import IslandError
from cluster import processes
from cluster.provider import Node, NodeSpec
from tests.cluster.ssh.conftest import ONE, nodes_of, script, spec_of, until


def test_host_that_does_not_answer_holds_up_no_other(make, gone):
    provider = make(*gone, 'ssh.hosts=["gone", "one"]', "island.count=1")
    provider.validate(spec_of("island-0"))
    assert provider.submit(spec_of("island-1"), "island-1").alive
    assert nodes_of(provider)["island-1"].alive
    provider.cancel("island-1")


def test_hosts_of_which_none_answers_are_unknown(make, gone):
    provider = make(*gone, 'ssh.hosts=["gone"]', "island.count=1")
    for ask in (lambda: provider.validate(spec_of("island-0")), lambda: provider.list("run")):
        with pytest.raises(IslandError, match=r"gone cannot be reached .*refused"):
            ask()
    assert provider.submit(spec_of("island-1"), "island-1").waiting


def test_nodes_of_a_host_that_is_lost_are_as_told_last_until_it_is_back(make, sshd):
    provider = make()
    for island in ("island-1", "island-2"):
        provider.submit(spec_of(island), island)
    sshd.kill("one")
    until(lambda: nodes_of(provider)["island-1"].stale)
    assert {name: (node.alive, node.stale) for name, node in nodes_of(provider).items()} == {
        "island-1": (True, True),
        "island-2": (True, False),
    }
    with pytest.raises(IslandError, match="one cannot be reached"):
        provider.cancel("island-1")
    sshd.start("one")
    until(lambda: not nodes_of(provider)["island-1"].stale)
    for island in ("island-1", "island-2"):
        provider.cancel(island)
    until(lambda: not any(node.alive for node in nodes_of(provider).values()))


def test_island_waits_for_a_host_until_one_is_free(make):
    provider = make(*ONE)
    provider.submit(spec_of("island-1"), "island-1")
    for island in ("island-2", "island-3"):
        assert provider.submit(spec_of(island), island).waiting
    provider.cancel("island-2")
    assert nodes_of(provider).keys() == {"island-1", "island-3"}
    assert nodes_of(provider)["island-3"].waiting
    provider.cancel("island-1")
    until(lambda: not nodes_of(provider)["island-3"].waiting)
    assert nodes_of(provider)["island-3"].alive
    provider.cancel("island-3")


def test_island_that_waited_and_may_have_been_started_is_told_as_dead(make, monkeypatch):
    provider = make(*ONE)
    provider.submit(spec_of("island-1"), "island-1")
    provider.submit(spec_of("island-2"), "island-2")

    def break_off(spec: NodeSpec, key: str) -> Node:
        raise IslandError("one broke off")

    monkeypatch.setattr(provider._islands, "start", break_off)
    node = nodes_of(provider)["island-2"]
    assert (node.alive, node.reason) == (False, "could not be started: one broke off")
    assert nodes_of(provider)["island-1"].alive
    provider.cancel("island-1")


def test_host_whose_islands_end_at_once_is_left_alone(make, tmp_path):
    provider = make()
    broken = replace(spec_of("island-1"), agent=("--no-such-option",))
    provider.submit(broken, "island-1")
    until(lambda: not nodes_of(provider)["island-1"].alive)
    assert nodes_of(provider)["island-1"].reason == "exited with code 2"
    provider.submit(spec_of("island-2"), "island-2")
    until(lambda: processes.working_in(tmp_path / "two"))
    assert processes.working_in(tmp_path / "one") == []
    provider.cancel("island-2")


def test_island_for_which_no_host_is_free_is_left_to_other_providers(make):
    provider = make('ssh.hosts=["one"]', "island.provider={ssh=1, local=1}")
    provider.submit(spec_of("island-1"), "island-1")
    with pytest.raises(IslandError, match="each host has an island"):
        provider.submit(spec_of("island-2"), "island-2")
    provider.cancel("island-1")


def test_host_at_work_for_another_run_is_not_free(make):
    one, other = make(), make(label="other")
    one.submit(spec_of("island-1"), "island-1")
    assert other.submit(spec_of("island-1", "other"), "island-1").alive  # on the second host
    assert other.submit(spec_of("island-2", "other"), "island-2").waiting
    assert {node.island for node in other.list("other")} == {"island-1", "island-2"}
    other.cancel("island-1")
    assert nodes_of(one)["island-1"].alive
    one.cancel("island-1")


def test_setup_may_write_read_and_set_what_the_agent_finds(make, tmp_path):
    provider = make("ssh.setup='''echo '{\"noise\": 1}'; cat\nexport FOUND=here'''")
    provider.submit(spec_of("island-1"), "island-1")
    until(lambda: processes.working_in(tmp_path))
    (agent,) = processes.working_in(tmp_path)
    assert agent.environ()["FOUND"] == "here"
    provider.cancel("island-1")


@pytest.mark.parametrize(
    "answer",
    ["{}", "[]", "7", "no JSON", '{"error": "KeyError", "words": ""}', '{"value": {"alive": 1}}'],
)
def test_host_whose_answers_nobody_understands_is_in_trouble(make, tmp_path, answer):
    greeting = json.dumps({"atoll": __version__, "machine": "", "num_gpus": 0})
    says = f"echo '{greeting}'; while read -r _; do echo '{answer}'; done"
    provider = make(*ONE, script(tmp_path / "odd", says))
    for _ in range(2):
        with pytest.raises(IslandError, match=r"one (answers what|tells of nodes)"):
            provider.list("run")
