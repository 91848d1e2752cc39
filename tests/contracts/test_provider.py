"""What every provider must do with the nodes of islands."""

from __future__ import annotations

import contextlib
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from atoll import authority, identity
from atoll.config_file import read_config
from atoll.errors import ConfigError, IslandError
from atoll.join_token import JoinToken
from cluster import processes
from cluster.local import AGENT_LOG, LocalProvider
from cluster.processes import ProcessId
from cluster.provider import Node, NodeSpec, Provider
from cluster.skypilot.provider import SkypilotProvider
from cluster.slurm import SlurmProvider
from cluster.ssh import SshProvider
from tests.skypilot import scripted


@pytest.fixture
def label(tmp_path: Path) -> str:
    """Of a run for each test: Slurm remembers those of the others."""
    return f"runs/{tmp_path.name}"


@pytest.fixture
def nobodys_address() -> Iterator[str]:
    """Nobody answers here, so agents try on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def num_nodes() -> int:
    """Of an island."""
    return 1


@pytest.fixture(params=["local", "slurm", "ssh", "kubernetes", "skypilot"])
def make(request, label, tmp_path: Path, num_nodes: int) -> Iterator[Callable[[], Provider]]:
    """Makes a provider of what is there already, as a restarted orchestrator would."""
    if request.param == "slurm":
        request.getfixturevalue("slurm")
        partition = "main" if num_nodes == 1 else "pair"
        keys = ["time_limit_min=5", f'partition="{partition}"']
        config = read_config(None, [f"slurm.{key}" for key in keys])
        yield lambda: SlurmProvider(config, label, tmp_path / "islands")
        subprocess.run(["scancel", "--me"], check=True)
    elif request.param == "ssh":
        sshd = request.getfixturevalue("sshd")
        for name in sshd.servers:
            (tmp_path / name).mkdir()
            (sshd.home(name) / tmp_path.name).symlink_to(tmp_path / name)
        own = [f"ssh.folder=~/{tmp_path.name}", f"run.uri={tmp_path}"]
        own += ["island.count=1", f"island.nodes={num_nodes}"]
        config = read_config(None, [*sshd.settings(), *own])
        yield lambda: SshProvider(config, label, tmp_path)
    elif request.param == "kubernetes":
        from cluster.kubernetes.provider import KubernetesProvider

        request.getfixturevalue("kubernetes")
        wanted = ["image=atoll:test", "namespace=atoll", f"python={sys.executable}"]
        own = ["run.uri=s3://lab/run", f"island.nodes={num_nodes}"]
        config = read_config(None, [*own, *(f"kubernetes.{w}" for w in wanted)])
        yield lambda: KubernetesProvider(config, label, tmp_path / "islands")
    elif request.param == "skypilot":
        sky = scripted.install(tmp_path / "sky")
        keys = [f"skypilot.command={sky}", f"skypilot.python={sys.executable}"]
        yield lambda: SkypilotProvider(read_config(None, keys), label, tmp_path / "islands")
        scripted.stop(sky.parent)
    else:
        yield lambda: LocalProvider(tmp_path / "islands")
    processes.kill(processes.working_in(tmp_path))


@pytest.fixture
def provider(make) -> Provider:
    return make()


@pytest.fixture
def spec_of(nobodys_address, label) -> Callable[[str], NodeSpec]:
    def spec_of(island: str) -> NodeSpec:
        agent = ("--orchestrator", nobodys_address, "--run", "run")
        return NodeSpec(island, label, agent, num_gpus=0)

    return spec_of


def test_provider_hands_over_a_token_in_a_file_for_its_owner_alone(provider, spec_of, tmp_path):
    ca = authority.new_authority(time.time(), 100)
    pair = authority.for_identity(ca, identity.joining("run", "island-1"), time.time(), 100)
    token = JoinToken(pair, ca.certificate).text
    spec = replace(spec_of("island-1"), token=token)
    provider.submit(spec, "k")
    wait_until(lambda: bool(processes.working_in(tmp_path)))
    (agent,) = processes.working_in(tmp_path)
    path = Path(agent.cmdline()[agent.cmdline().index("--join") + 1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == token
    secret = token.splitlines()[1]
    assert secret not in f"{agent.cmdline()} {agent.environ()} {spec}"
    wait_until(lambda: "does not answer" in provider.logs("island-1", 1))
    assert secret not in provider.logs("island-1", 1000)
    provider.cancel("island-1")
    wait_until(lambda: not path.exists())


def alive(provider: Provider, label: str) -> dict[str, bool]:
    return {node.island: node.alive for node in provider.list(label)}


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def agents(folder: Path) -> list[psutil.Process]:
    """Those that run, once a new one shows its command line."""
    wait_until(lambda: bool(processes.working_in(folder)))
    return processes.working_in(folder)


def test_provider_without_nodes_lists_none(provider, label):
    assert provider.list(label) == ()
    provider.cancel("island-1")
    assert provider.logs("island-1", 10) == ""


def test_provider_lists_the_nodes_of_a_run(provider, spec_of, label):
    assert provider.submit(spec_of("island-1"), "island-1").alive
    assert alive(provider, label) == {"island-1": True}
    assert provider.list("another/run") == ()


def test_provider_submitting_a_key_twice_starts_one_node(provider, make, spec_of, tmp_path):
    for asked in (provider, provider, make()):
        asked.submit(spec_of("island-1"), "key")
    assert len(agents(tmp_path)) == 1
    with pytest.raises(IslandError, match="never reused"):
        provider.submit(spec_of("island-1"), "another key")


def test_provider_made_anew_finds_and_stops_living_nodes(provider, make, spec_of, tmp_path, label):
    provider.submit(spec_of("island-1"), "island-1")
    later = make()
    assert alive(later, label) == {"island-1": True}
    later.cancel("island-1")
    wait_until(lambda: alive(later, label) == {"island-1": False})
    assert processes.working_in(tmp_path) == []


def test_provider_remembers_which_nodes_were_cancelled(provider, make, spec_of, tmp_path, label):
    for island in ("island-1", "island-2"):
        provider.submit(spec_of(island), island)
    provider.cancel("island-1")
    wait_until(lambda: len(agents(tmp_path)) == 1)
    processes.kill(agents(tmp_path))
    wait_until(lambda: not any(alive(provider, label).values()))
    for asked in (provider, make()):
        cleared = {node.island: node.cleared for node in asked.list(label)}
        assert cleared.pop("island-1", True)  # or forgotten, because nothing of it is left
        assert cleared == {"island-2": False}


def test_provider_tells_of_an_agent_that_left_when_it_was_asked_to(
    provider, spec_of, tmp_path, label
):
    provider.submit(spec_of("island-1"), "island-1")
    wait_until(lambda: "does not answer" in provider.logs("island-1", 10))
    (agent,) = agents(tmp_path)
    agent.terminate()
    wait_until(lambda: not alive(provider, label)["island-1"])
    assert provider.list(label)[0].reason == "exited with code 0"


def test_provider_tells_how_a_node_died(provider, spec_of, tmp_path, label):
    provider.submit(spec_of("island-1"), "island-1")
    processes.kill(agents(tmp_path))
    wait_until(lambda: not alive(provider, label)["island-1"])
    assert provider.list(label)[0].reason == "killed by signal 9 (SIGKILL)"


def test_local_provider_drain_lets_all_agents_of_an_island_leave_by_themselves(tmp_path, spec_of):
    provider = LocalProvider(tmp_path)
    provider.drain("island-1")  # of which nobody knows
    spec = replace(spec_of("island-1"), num_nodes=2)
    provider.submit(spec, "k")
    logs = [tmp_path / "island-1" / node / AGENT_LOG for node in ("node-0", "node-1")]
    wait_until(lambda: all("does not answer" in log.read_text() for log in logs))
    provider.drain("island-1")
    wait_until(lambda: not alive(provider, spec.label)["island-1"])
    assert provider.list(spec.label)[0].reason == "exited with code 0"


def test_local_provider_cancel_stops_what_outlived_the_agent(tmp_path, spec_of):
    provider = LocalProvider(tmp_path / "islands")
    provider.submit(spec_of("island-1"), "island-1")
    work = tmp_path / "islands" / "island-1" / "work"
    trainer = psutil.Popen(["sleep", "1000", "--work-dir", str(work / "expert-0")])
    with contextlib.suppress(psutil.NoSuchProcess):
        provider.cancel("island-1")
        assert trainer.wait(timeout=30) != 0
    assert not work.exists()


def test_provider_refuses_what_can_never_run_before_it_starts(provider, label):
    too_many = provider.capabilities().num_gpus + 1
    with pytest.raises(ConfigError, match=r"island\.device"):
        provider.validate(NodeSpec("island-1", label, (), num_gpus=too_many))
    provider.validate(NodeSpec("island-1", label, (), num_gpus=0))


def by_node(folder: Path, num: int) -> dict[str, psutil.Process]:
    """The agents of the nodes of an island, once there are so many."""
    wait_until(lambda: len(processes.working_in(folder)) == num)
    found = processes.working_in(folder)
    return {option_of(agent, "--node"): agent for agent in found}


def option_of(agent: psutil.Process, name: str) -> str:
    return agent.cmdline()[agent.cmdline().index(name) + 1]


@pytest.fixture
def gang(spec_of, num_nodes) -> NodeSpec:
    """Of an island that needs all of its nodes."""
    return replace(spec_of("island-1"), num_nodes=num_nodes, min_nodes=num_nodes)


@pytest.mark.parametrize("num_nodes", [2])
def test_provider_has_an_agent_for_each_node_and_finds_and_stops_them_when_made_anew(
    make, tmp_path, gang, label
):
    provider = make()
    provider.validate(gang)
    assert provider.submit(gang, "key").alive
    first = by_node(tmp_path, 2)
    assert len(first) == 2  # each has a name of its own
    assert {option_of(agent, "--island") for agent in first.values()} == {"island-1"}
    later = make()
    wait_until(lambda: later.list(label) == (Node("island-1", alive=True),))
    later.cancel("island-1")
    wait_until(lambda: not any(alive(later, label).values()))
    wait_until(lambda: not processes.working_in(tmp_path))


@pytest.mark.parametrize(
    ("make", "names", "num_nodes"),
    [("local", ("node-0", "node-1"), 2), ("ssh", ("one", "two"), 2)],
    indirect=["make"],
)
def test_provider_brings_back_the_agent_of_a_node_that_is_missing(
    make, names, tmp_path, gang, label
):
    spec = replace(gang, endpoint="/here")
    make().submit(spec, "key")
    first = by_node(tmp_path, 2)
    assert first.keys() == set(names)
    assert {option_of(agent, "--endpoint") for agent in first.values()} == {"/here"}
    kept, lost = (first[name] for name in names)
    processes.kill([lost])
    later = make()
    wait_until(lambda: later.list(label)[0].missing == 1)
    assert later.submit(spec, "key") == Node("island-1", alive=True)
    second = by_node(tmp_path, 2)
    assert second[names[0]] == kept
    assert second[names[1]] != lost
    later.cancel("island-1")
    (node,) = make().list(label)
    assert (node.alive, node.cleared, node.missing) == (False, True, 0)
    later.submit(spec, "key")
    assert processes.working_in(tmp_path) == []  # what was cancelled stays so


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (3, 2)])
def test_local_provider_keeps_the_nodes_an_island_has_whatever_number_is_asked_for_later(
    before, after, tmp_path, spec_of
):
    spec = replace(spec_of("island-1"), num_nodes=before)
    LocalProvider(tmp_path).submit(spec, "key")
    wait_until(lambda: len(processes.working_in(tmp_path)) == before)
    kept = set(processes.working_in(tmp_path))
    later = LocalProvider(tmp_path)
    assert later.submit(replace(spec, num_nodes=after), "key") == Node("island-1", alive=True)
    wait_until(lambda: set(processes.working_in(tmp_path)) == kept)
    later.cancel("island-1")
    assert processes.working_in(tmp_path) == []


def test_local_provider_does_not_take_a_later_process_for_its_node(tmp_path, spec_of, label):
    def make() -> Provider:
        return LocalProvider(tmp_path / "islands")

    provider = make()
    provider.submit(spec_of("island-1"), "island-1")
    record = tmp_path / "islands" / "island-1" / "node.json"
    (agent,) = agents(tmp_path)
    born = ProcessId.of(agent.pid).born
    assert born in record.read_text()
    record.write_text(record.read_text().replace(born, "in another life"))
    assert alive(make(), label) == {"island-1": False}
    processes.kill([agent])
