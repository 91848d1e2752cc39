"""A run whose islands are on hosts with addresses of their own, by a real ssh and mutual TLS."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cluster import processes
from tests.namespaces import network
from tests.sshd import ThrowAwayHosts

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def net():
    with network("a", "b", "c") as made:
        yield made


@pytest.fixture
def hosts(net, tmp_path):
    made = ThrowAwayHosts(tmp_path / "hosts")
    for name, address in net.addresses.items():
        made.start(name, address, net.within(name))
    yield made
    made.stop()


@pytest.fixture
def run(make_run, net, hosts, tmp_path):
    certs = [sys.executable, "-m", "atoll", "certs", tmp_path / "tls", "--host", net.address]
    subprocess.run(certs, check=True)
    listen = [f"orchestrator.listen={net.address}:0", f"orchestrator.tls={tmp_path / 'tls'}"]
    overrides = [*hosts.settings(), *listen, 'ssh.options=["-oConnectTimeout=2"]']
    return make_run("run", steps=400, options="--step-s 0.05 --every 10", overrides=overrides)


def island_of(run, job: str) -> str:
    """ "" while nobody works on it, or tells."""
    found = run.jobs().get(job)
    return found.island if found else ""


def host_of(hosts, island: str) -> str:
    (home,) = (home for home in hosts.servers if any(hosts.home(home).rglob(f"*/{island}/work")))
    return home


def test_run_goes_on_while_a_host_is_cut_off_and_after_it_is_back(
    run, net, hosts, until, undisturbed
):
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
