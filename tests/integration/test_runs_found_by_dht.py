"""An orchestrator that moves to another host, and islands that find it there by a DHT.

One was started by the orchestrator, over ssh; one by hand, and knows a peer of the DHT alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from atoll.clock import SystemClock
from atoll.credentials import CA, read_certificate
from cluster import processes
from membership.dht import Dht
from membership.record import Kind
from orchestrator.cli.peers import row_of, told_of
from orchestrator.naming import name_of
from tests import dht
from tests.integration.runs import make_certificates, words_of
from tests.namespaces import network
from tests.sshd import hosts_within

pytestmark = pytest.mark.timeout(300)

ATOLL = [sys.executable, "-m", "atoll"]
HERE = Path(__file__).parent
OPTIONS = "--step-s 0.05 --every 10"
FAKE_TRAINER = str(HERE.parent / "fake_trainer.py")
TRAINER = f"{sys.executable} {FAKE_TRAINER} {OPTIONS}"
TOLD = "--peer {} --island far-1 --work-dir work --join far-1.pem"


@pytest.fixture
def net():
    with network("first", "second", "lab", "far") as made:
        yield made


@pytest.fixture
def lab(net, tmp_path):
    """A host that takes islands over ssh, from wherever the orchestrator is."""
    with hosts_within(net, tmp_path / "hosts", "lab") as hosts:
        yield hosts


@pytest.fixture
def run(make_run, net, lab, tmp_path):
    """A run that the first or the second host may serve, and that starts an island in the lab."""
    tls = tmp_path / "tls"
    hosts = [word for name in ("first", "second") for word in ("--host", net.addresses[name])]
    make_certificates(tls, *hosts)
    with dht.peer(tls, f"{net.address}:0") as peer:
        keys = [f"orchestrator.tls={tls}", f'membership.peers=["{peer}"]', *lab.settings()]
        keys += ["island.count=1", "island.lease_s=10"]
        yield make_run("run", steps=400, options=OPTIONS, overrides=keys)


@pytest.fixture
def on(net, run, tmp_path):
    """Starts something on a host; what it writes is in a file named for the host."""

    def start(host: str, *command: str) -> subprocess.Popen[str]:
        with (tmp_path / f"{host}.log").open("ab") as log:
            words = [*net.within(host), *command]
            run.launched.append(subprocess.Popen(words, stdout=log, stderr=log, text=True))
        return run.launched[-1]

    return start


@pytest.fixture
def far(run, on, tmp_path):
    """The log of an island that was started as `atoll token` says: with a peer to ask."""
    token = tmp_path / "far-1.pem"
    command = run.command("token", str(token), "--island", "far-1")
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    (peer,) = run.config.membership.peers
    assert told.strip().endswith(f"atoll agent {TOLD.format(peer)}")
    agent = [*ATOLL, "agent", "--peer", peer, "--join", str(token), "--trainer", TRAINER]
    on("far", *agent, "--work-dir", str(tmp_path / "far" / "work"))
    return tmp_path / "far.log"


@pytest.fixture
def served(run, net, on):
    """Launches the run on a host, from which it is served."""

    def launch(host: str) -> subprocess.Popen[str]:
        run.overrides.append(f"orchestrator.listen={net.addresses[host]}:0")
        launcher = [sys.executable, str(HERE / "launcher.py"), "train", run.options]
        return on(host, *launcher, *run.settings)

    return launch


@pytest.fixture
def moved(run, net, far, served, until):
    """Launches the run on the first host once it is sought; moves it to the second when called."""
    until(lambda: "is announced at the peers" in far.read_text())
    served("first")

    def move() -> subprocess.Popen[str]:
        ways = run.orchestrator().children(recursive=True)  # into the DHT, and to the lab
        ssh = [each for each in ways if each.name() == "ssh"]
        net.cut("first")
        run.launched[-1].kill()
        processes.kill([run.orchestrator(), *ssh])  # the islands are on other hosts
        until(lambda: not any(each.is_running() for each in ways))
        return served("second")

    return move


@pytest.fixture
def told(run, far):
    """What `atoll peers` shows, without a wait for its imports."""
    tls, name = Path(run.config.orchestrator.tls), name_of(run.config)
    authority = read_certificate(tls / f"{CA}.crt")
    with Dht(run.config.membership.peers, authority, SystemClock()) as asked:
        asked.open()
        kinds, clock = (Kind.ORCHESTRATOR, Kind.ISLAND), SystemClock()
        yield lambda: [
            row_of(record, clock.wall(), "") for record in told_of(asked, name, kinds)[0]
        ]


def agents_in_lab(run) -> list[psutil.Process]:
    """Without their trainers."""
    hosts = Path(run.config.ssh.config).parent
    return [each for each in processes.working_in(hosts) if "agent" in words_of(each)]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Inside, no trainer below a folder makes a step: there is time to look around."""
    working = processes.working_in(folder)
    trainers = [each for each in working if FAKE_TRAINER in words_of(each)]
    for trainer in trainers:
        trainer.suspend()
    yield
    for trainer in trainers:
        trainer.resume()


def listening() -> set[str]:
    """The addresses at which any daemon of the DHT is called, on whatever host."""
    daemons = [p for p in psutil.Process().children(recursive=True) if "p2pd" in p.name()]
    ends = [end for daemon in daemons for end in daemon.net_connections()]
    return {end.laddr.ip for end in ends if end.status == psutil.CONN_LISTEN}


def test_run_is_found_on_another_host_by_islands_started_over_ssh_and_by_hand(
    run, told, moved, until, undisturbed
):
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    with held(run.uri.parent):
        jobs = {view.island: job for job, view in run.jobs().items()}
        assert jobs.keys() == {"island-1", "far-1"}
        until(lambda: {(each["name"], each["works_on"]) for each in told()} >= jobs.items())
        leader, *_ = told()
        assert leader["address"].startswith(run.config.orchestrator.listen.removesuffix("0"))
        (peer,) = run.config.membership.peers
        assert listening() == {peer.partition(":")[0]}  # orchestrators and islands only call
        (agent,) = agents_in_lab(run)
        assert agent.cmdline()[agent.cmdline().index("--peer") + 1] == peer
        assert "--endpoint" not in agent.cmdline()  # the DHT alone tells it of another place
    assert moved().wait() == 0
    events = run.events()
    _, moved_at = (n for n, event in enumerate(events) if event.kind == "orchestrator-serves")
    for island, job in jobs.items():
        published = [e for e in events if (e.kind, e.job) == ("checkpoint-committed", job)]
        assert [int(event.reason.split()[1]) for event in published] == [*range(10, 401, 10)]
        assert {(event.island, event.epoch) for event in published} == {(island, 1)}
        assert published[-1] in events[moved_at:]  # to the new one, under the lease of the former
    assert run.weights() == undisturbed(run)
    assert [event.island for event in events if event.kind == "island-started"] == ["island-1"]
    until(lambda: not agents_in_lab(run))
    ended = ("island-stopped", "island-1")  # as the same host has told the new one
    until(lambda: ended in [(event.kind, event.island) for event in run.events()])
