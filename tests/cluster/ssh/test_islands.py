"""Islands of several hosts, and starts that nobody heard of."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from atoll.clock import SystemClock
from atoll.config_file import read_config
from atoll.errors import IslandError
from cluster import processes
from cluster.probation import Probation
from cluster.provider import Node, NodeSpec
from cluster.ssh import SshProvider
from cluster.ssh_host import SshHost, begun
from cluster.ssh_hosts import SshHosts
from cluster.ssh_islands import SshIslands
from cluster.ssh_link import Link
from tests.cluster.ssh.conftest import PAIR, nodes_of, pair_of, spec_of, until


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
    until(lambda: nodes_of(provider) and any(host.trouble for host in provider._hosts))
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


def _waits_for(path: Path) -> bool:
    number = str(path.stat().st_ino)
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and line.split()[6].endswith(f":{number}") for line in locks)
