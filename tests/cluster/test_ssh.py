"""Hosts over a real ssh: what is refused beforehand, and what befalls them later."""

from __future__ import annotations

import fcntl
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from atoll import __version__
from atoll.clock import SystemClock
from atoll.config_file import read_config
from atoll.errors import ConfigError, IslandError
from cluster import processes
from cluster.probation import Probation
from cluster.provider import Node, NodeSpec
from cluster.ssh import SshProvider
from cluster.ssh_host import SshHost, begun
from cluster.ssh_hosts import SshHosts
from cluster.ssh_islands import SshIslands
from cluster.ssh_link import Link

PAIR = ("island.count=1", "island.nodes=2")
ONE = ('ssh.hosts=["one"]', "island.count=1")


def until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def spec_of(island: str, label: str = "run") -> NodeSpec:
    return NodeSpec(island, label, ("--orchestrator", "127.0.0.1:9", "--run", "run"), num_gpus=0)


def pair_of(island: str, min_nodes: int = 2) -> NodeSpec:
    return replace(spec_of(island), num_nodes=2, min_nodes=min_nodes)


@pytest.fixture
def settings(sshd, tmp_path) -> list[str]:
    """Of a run on both hosts, which keep the folders of this test below it."""
    for name in sshd.servers:
        (tmp_path / name).mkdir()
        (sshd.home(name) / tmp_path.name).symlink_to(tmp_path / name)
    return [*sshd.settings(), f"ssh.folder=~/{tmp_path.name}", f"run.uri={tmp_path}"]


@pytest.fixture
def make(settings, tmp_path):
    """Makes a provider, with some settings changed."""

    def make(*changed: str, label: str = "run") -> SshProvider:
        return SshProvider(read_config(None, [*settings, *changed]), label, tmp_path)

    yield make
    processes.kill(processes.working_in(tmp_path))


@pytest.fixture
def config_with(sshd, tmp_path) -> Callable[[str], str]:
    """The setting for ssh's configuration with some lines before it."""

    def write(text: str) -> str:
        (tmp_path / "config").write_text(f"{text}\n{sshd.config.read_text()}")
        return f"ssh.config={tmp_path / 'config'}"

    return write


def refusal(provider: SshProvider) -> str:
    with pytest.raises(ConfigError) as refused:
        provider.validate(spec_of("island-0"))
    return str(refused.value)


def nodes_of(provider: SshProvider) -> dict[str, Node]:
    return {node.island: node for node in provider.list("run")}


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"ssh.python={path}"


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "-1", "", "a b", "a\nb"])
def test_hosts_that_ssh_would_take_for_something_else_are_refused(host):
    with pytest.raises(ConfigError, match=r"ssh\.hosts: .* is no host"):
        read_config(None, [f'ssh.hosts=["{host}"]'.replace("\n", "\\n")])


def test_host_named_twice_is_refused():
    with pytest.raises(ConfigError, match=r"ssh\.hosts: 'a' stands there twice"):
        read_config(None, ['ssh.hosts=["a", "b", "a"]'])


def test_option_that_ssh_would_take_for_a_host_is_refused():
    with pytest.raises(ConfigError, match=r"ssh\.options: 'Port=22' is no option"):
        read_config(None, ['ssh.options=["Port=22"]'])


def test_no_hosts_are_refused(tmp_path):
    provider = SshProvider(read_config(None, ['island.provider="ssh"']), "run", tmp_path)
    assert "ssh.hosts names none for 2 islands" in refusal(provider)


def test_more_islands_than_hosts_are_refused(make):
    assert "ssh.hosts names 2 for 3 islands" in refusal(make("island.count=3"))


def test_more_nodes_of_islands_than_hosts_are_refused(make):
    with pytest.raises(ConfigError, match=r"names 2 for 2 islands of island\.nodes = 2, .* lower"):
        make("island.nodes=2").validate(pair_of("island-0"))


def test_host_of_a_name_that_cannot_be_does_not_answer(make):
    provider = make(*ONE, 'ssh.hosts=["one..two"]')
    assert provider.capabilities().elsewhere
    with pytest.raises(IslandError, match=r"one\.\.two cannot be reached"):
        provider.validate(spec_of("island-0"))


def test_machine_without_ssh_is_refused(make, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install OpenSSH's client" in refusal(make())


def test_host_with_an_unknown_key_is_refused(make, config_with):
    said = refusal(make(*ONE, config_with("Host one\n UserKnownHostsFile /nonexistent")))
    assert "ssh.hosts: one shows a key that is not known here" in said
    assert "accept it: `ssh -F" in said


def test_host_with_another_key_than_before_is_refused(make, config_with, sshd):
    other = f"UserKnownHostsFile {sshd.folder}/two/known_hosts\n HostKeyAlias two"
    said = refusal(make(*ONE, config_with(f"Host one\n {other}")))
    assert "ssh.hosts: one shows another key than the one that is known here" in said
    assert "ssh-keygen -R" in said


def test_host_that_lets_nobody_in_is_refused(make, config_with):
    said = refusal(make(*ONE, config_with("Host one\n PubkeyAuthentication no")))
    assert "ssh.hosts: one does not let you in (" in said
    assert "Permission denied" in said
    assert "one true` must work without a question" in said


def test_host_without_python_is_refused(make):
    said = refusal(make(*ONE, "ssh.python=/nonexistent/python"))
    assert "ssh.hosts: one has no /nonexistent/python" in said
    assert "set ssh.python" in said


def test_host_without_atoll_is_refused(make, tmp_path):
    said = refusal(make(*ONE, script(tmp_path / "bare", f'exec {sys.executable} -E -S "$@"')))
    assert "without Atoll (" in said
    assert "No module named" in said


def test_host_with_another_version_is_refused(make, tmp_path):
    greeting = '{"atoll": "0.0.1", "machine": "", "num_gpus": 0}'
    said = refusal(make(*ONE, script(tmp_path / "old", f"echo '{greeting}'; cat")))
    assert "one has Atoll 0.0.1, and this machine" in said


def test_host_whose_folder_cannot_be_written_is_refused(make, tmp_path):
    (tmp_path / "file").touch()
    said = refusal(make(*ONE, f"ssh.folder={tmp_path}/file"))
    assert said.startswith("one: ")
    assert "set ssh.folder" in said


def test_host_without_the_folder_of_the_run_is_refused(make):
    assert "run.uri = /nonexistent is no folder there" in refusal(
        make(*ONE, "run.uri=/nonexistent")
    )


def test_machine_under_two_names_is_refused(make, config_with, sshd):
    again = (sshd.folder / "one" / "config").read_text().replace("Host one", "Host again", 1)
    said = refusal(make(config_with(again), 'ssh.hosts=["one", "again"]'))
    assert "one and again are one machine" in said


def test_ssh_options_that_ssh_does_not_know_are_refused(make):
    assert "see ssh.config and ssh.options" in refusal(make(*ONE, 'ssh.options=["-oNoSuch=yes"]'))


@pytest.fixture
def gone(config_with) -> list[str]:
    """Settings with a third host, which does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [config_with(f"Host gone\n HostName 127.0.0.1\n Port {port}")]


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


@pytest.fixture
def cut_short(settings, sshd, tmp_path) -> Callable[..., tuple[SshIslands, BaseException | None]]:
    """Starts an island; the first host's connection breaks meanwhile, and it does so all the same.

    What is known of it then, and what was raised.
    """

    def start(spec: NodeSpec) -> tuple[SshIslands, BaseException | None]:
        section = read_config(None, settings).ssh
        links = [(name, Link(section, name, "run")) for name in section.hosts]
        hosts = SshHosts([SshHost(*each, Probation(SystemClock())) for each in links])
        hosts.look()
        islands = SshIslands(hosts, spec.num_nodes)
        folder = tmp_path / "one" / socket.gethostname()
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            starting = begun(islands.start, spec, spec.island)
            until(lambda: _waits_for(folder / "lock"))
            sshd.kill("one")
            raised = starting.exception(30)
        sshd.start("one")
        until(lambda: processes.working_in(tmp_path / "one"))
        return islands, raised

    return start


def test_island_whose_start_nobody_heard_of_is_found_and_stopped(cut_short, tmp_path):
    islands, raised = cut_short(spec_of("island-1"))
    assert isinstance(raised, IslandError)
    assert processes.working_in(tmp_path / "two") == []
    islands.cancel("island-1")
    until(lambda: not processes.working_in(tmp_path))


def test_island_of_several_lives_though_nobody_heard_of_the_start_of_one_node(cut_short, tmp_path):
    islands, raised = cut_short(pair_of("island-1", min_nodes=1))
    assert raised is None
    assert islands.nodes["island-1"].alive
    until(lambda: all(agents_on(tmp_path, "one", "two")))
    islands.cancel("island-1")
    until(lambda: not processes.working_in(tmp_path))


@pytest.fixture
def third(sshd) -> Iterator[None]:
    """One host more; to be asked for before anything that counts them."""
    sshd.start("three")
    yield
    sshd.kill("three")
    del sshd.servers["three"]


def test_island_takes_a_free_host_in_place_of_one_that_is_cut_off_until_it_is_back(
    third, make, sshd, tmp_path
):
    spec = pair_of("island-1", min_nodes=1)
    make(*PAIR).submit(spec, "k")
    until(lambda: all(agents_on(tmp_path, "one", "two")))
    sshd.kill("one")
    provider = make(*PAIR)
    until(lambda: nodes_of(provider) == {"island-1": Node("island-1", alive=True, missing=1)})
    assert provider.submit(spec, "k") == Node("island-1", alive=True)
    one, *kept = agents_on(tmp_path, "one", "two", "three")
    assert one  # unreachable is not dead
    assert all(kept)
    sshd.start("one")
    until(lambda: nodes_of(provider) and not processes.working_in(tmp_path / "one"))
    assert nodes_of(provider) == {"island-1": Node("island-1", alive=True)}
    assert agents_on(tmp_path, "two", "three") == kept
    provider.cancel("island-1")
    assert processes.working_in(tmp_path) == []


def test_island_that_was_cancelled_while_a_host_was_away_is_stopped_there_once_it_is_back(
    make, sshd, tmp_path
):
    provider = make(*PAIR)
    provider.submit(pair_of("island-1"), "k")
    until(lambda: all(agents_on(tmp_path, "one", "two")))
    sshd.kill("one")
    with pytest.raises(IslandError, match="one cannot be reached"):
        provider.cancel("island-1")
    assert [bool(agents) for agents in agents_on(tmp_path, "one", "two")] == [True, False]
    assert nodes_of(provider)["island-1"].stale
    later = make(*PAIR)  # knows of it from the hosts alone
    sshd.start("one")
    until(lambda: not (nodes_of(later)["island-1"].alive or processes.working_in(tmp_path)))
    later.submit(pair_of("island-1"), "k")
    assert processes.working_in(tmp_path) == []


def test_island_of_several_waits_until_as_many_hosts_are_free_as_it_needs(make, tmp_path):
    provider, other = make(*PAIR), make('ssh.hosts=["two"]', label="other")
    other.submit(spec_of("island-1", "other"), "island-1")
    assert provider.submit(pair_of("island-1"), "k").waiting
    assert nodes_of(provider)["island-1"].waiting
    assert processes.working_in(tmp_path / "one") == []
    other.cancel("island-1")
    until(lambda: not nodes_of(provider)["island-1"].waiting)
    assert all(agents_on(tmp_path, "one", "two"))
    provider.cancel("island-1")


def test_island_of_several_is_completed_by_a_host_that_comes_later(make, sshd, tmp_path):
    spec = pair_of("island-1", min_nodes=1)
    provider = make(*PAIR)
    sshd.kill("two")
    assert provider.submit(spec, "k") == Node("island-1", alive=True)  # nobody else is free
    sshd.start("two")
    until(lambda: nodes_of(provider)["island-1"].missing == 1)
    assert not provider.submit(spec, "k").missing
    until(lambda: waiting_agents(provider) == {"one", "two"})  # they heed signals by then
    for (agent,) in agents_on(tmp_path, "one", "two"):
        agent.terminate()
    until(lambda: not nodes_of(provider)["island-1"].alive)
    assert nodes_of(provider)["island-1"].reason == "exited with code 0"
    assert {line.split(":")[0] for line in provider.logs("island-1", 4).splitlines()} == {
        "one",
        "two",
    }


def waiting_agents(provider: SshProvider) -> set[str]:
    """Hosts whose agent of island-1 has looked for its orchestrator in vain."""
    lines = provider.logs("island-1", 2).splitlines()
    return {line.partition(":")[0] for line in lines if "does not answer" in line}


def agents_on(folder: Path, *hosts: str) -> list[list[psutil.Process]]:
    return [processes.working_in(folder / host) for host in hosts]


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


def _waits_for(path: Path) -> bool:
    number = str(path.stat().st_ino)
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and line.split()[6].endswith(f":{number}") for line in locks)
