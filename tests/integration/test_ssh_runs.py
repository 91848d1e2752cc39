"""A run whose islands are on hosts with addresses of their own, by a real ssh and mutual TLS."""

from __future__ import annotations

import psutil
import pytest

from cluster import processes
from tests.integration.runs import make_certificates, words_of
from tests.namespaces import network
from tests.sshd import hosts_within

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def net():
    with network("a", "b", "c") as made:
        yield made


@pytest.fixture
def hosts(net, tmp_path):
    with hosts_within(net, tmp_path / "hosts", *net.addresses) as made:
        yield made


@pytest.fixture
def make(make_run, net, hosts, tmp_path):
    make_certificates(tmp_path / "tls", "--host", net.address)
    listen = [f"orchestrator.listen={net.address}:0", f"orchestrator.tls={tmp_path / 'tls'}"]
    overrides = [*hosts.settings(), *listen, 'ssh.options=["-oConnectTimeout=2"]']

    def make(steps: int, *more: str):
        options = "--step-s 0.05 --every 10"
        return make_run("run", steps=steps, options=options, overrides=[*overrides, *more])

    return make


def island_of(run, job: str) -> str:
    """ "" while nobody works on it, or tells."""
    found = run.jobs().get(job)
    return found.island if found else ""


def host_of(hosts, island: str) -> str:
    (home,) = (home for home in hosts.servers if any(hosts.home(home).rglob(f"*/{island}/work")))
    return home


def test_run_goes_on_while_a_host_is_cut_off_and_after_it_is_back(
    make, net, hosts, until, undisturbed
):
    run = make(400)
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    lost, other = island_of(run, "expert-0"), island_of(run, "expert-1")
    cut_off = host_of(hosts, lost)
    net.cut(cut_off)
    run.orchestrator().kill()  # the next one never hears of that host
    until(lambda: island_of(run, "expert-0") not in {"", lost, other})
    at_last = run.committed("expert-0")
    until(lambda: run.committed("expert-0") > at_last)
    cut_off_agents = processes.working_in(hosts.home(cut_off))
    assert cut_off_agents  # unreachable is not dead
    assert all("--endpoint" not in agent.cmdline() for agent in cut_off_agents)
    net.heal(cut_off)
    until(lambda: not processes.working_in(hosts.home(cut_off)))
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert run.results()["expert-1"].epoch == 1  # nothing befell it
    until(lambda: not processes.working_in(hosts.folder))  # no orphan is left, wherever
    (log,) = hosts.home(cut_off).rglob(f"{lost}/agent.log")
    assert "stopping, nothing of that epoch is published any more" in log.read_text()


def hosts_of(run) -> set[str]:
    """Where the nodes are that train together."""
    return {node.rpartition("-")[0] for node in run.nodes()}


def agent_on(hosts, name: str) -> psutil.Process:
    """Its trainers come and go."""
    working = processes.working_in(hosts.home(name))
    (agent,) = (each for each in working if "--node" in words_of(each))
    return agent


def test_island_of_two_hosts_goes_on_without_the_one_that_led_and_with_a_third(
    make, net, hosts, until, undisturbed
):
    run = make(200, "island.count=1", "island.nodes=2", "island.min_nodes=1")
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and len(run.nodes()) == 2)
    cut_off = run.nodes()[0].rpartition("-")[0]
    net.cut(cut_off)
    run.orchestrator().kill()  # the next one knows of the island from the hosts that are left
    until(lambda: hosts_of(run) == hosts.servers.keys() - {cut_off})
    kept = [agent_on(hosts, name) for name in hosts_of(run)]
    assert processes.working_in(hosts.home(cut_off))  # unreachable is not dead
    net.heal(cut_off)
    until(lambda: not processes.working_in(hosts.home(cut_off)))
    assert launcher.poll() is None
    assert all(agent.is_running() for agent in kept)
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert [event.kind for event in run.events()].count("island-started") == 1
    until(lambda: not processes.working_in(hosts.folder))  # no orphan is left, wherever
