"""Servers of experts that are real processes are found, and asked on where nobody tells of them."""

from __future__ import annotations

import contextlib
import signal
import urllib.error
import urllib.request

import pytest

from atoll.__main__ import main
from tests import dht
from tests.serving.remote.conftest import until
from tests.serving.remote.processes import ask, of_peer, served_by

pytestmark = pytest.mark.timeout(300)


def test_servers_are_found_in_the_dht_and_what_is_missing_is_told(
    serve_run, serve_expert, tmp_path
):
    lab = tmp_path / "lab"
    with contextlib.suppress(SystemExit):
        main(["certs", str(lab), "--gateway", "web"])
    with dht.peer(lab) as peer:
        peers = f'membership.peers=["{peer}"]'
        settings = (peers, f"expert_server.tls={lab}")
        begun = [serve_expert(number, settings=settings) for number in (0, 1)]
        servers = [serve_expert.ready(each) for each in begun]
        tls = lab / "gateways" / "web"
        remote = serve_run(
            'experts=["dht"]', f"experts_tls={tls}", "experts_wait_s=1", more=[peers]
        )
        until(lambda: served_by(remote.rest) == [1, 1])
        _, told = ask(remote.rest, seed=1)
        assert "without" not in told[0]
        servers[1].process.kill()
        _, told = ask(remote.rest, seed=1)
        assert told[0]["without"] == [1]
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(remote.rest, seed=1, exact=True)
        with refused.value as answer:
            assert answer.code == 503
        serve_expert.ready(serve_expert(1, settings=settings))
        until(lambda: served_by(remote.rest) == [1, 1])
        _, told = ask(remote.rest, seed=1, exact=True)
        assert "without" not in told[0]
        for stop in (signal.SIGSTOP, signal.SIGKILL):  # the servers found last are asked on
            for each in of_peer(lab):
                each.send_signal(stop)
            for seed in range(4):
                _, told = ask(remote.rest, seed=seed, exact=True, steps=100)
                assert "without" not in told[0]
        assert served_by(remote.rest) == [1, 1]


def test_servers_are_found_by_the_orchestrator_and_asked_on_without_it(
    serve_run, serve_expert, orchestrate, trained_uri, told
):
    def servers():
        seen = told("status", f"--set=run.uri={trained_uri}")["servers"]
        return sorted((each["server"], each["experts"]) for each in seen)

    local = serve_run("deterministic=true")
    begun = [serve_expert(number) for number in (0, 1)]
    first, second = (serve_expert.ready(each) for each in begun)
    orchestrator = orchestrate()
    remote = serve_run('experts=["orchestrator"]', "deterministic=true", "experts_wait_s=1")
    until(lambda: served_by(remote.rest) == [1, 1])
    assert servers() == sorted([(first.address, [0]), (second.address, [1])])
    assert ask(remote.rest, seed=1, exact=True)[0] == ask(local.rest, seed=1)[0]
    orchestrator.kill()
    orchestrator.wait()
    assert ask(remote.rest, seed=2, exact=True)[0] == ask(local.rest, seed=2)[0]
    third = serve_expert.ready(serve_expert(0, 1))
    second.process.kill()
    until(lambda: served_by(remote.rest) == [1, 0])
    orchestrate()  # which knows nobody yet, and is told again
    until(lambda: served_by(remote.rest) == [2, 1], seconds=60)
    assert ask(remote.rest, seed=3, exact=True)[0] == ask(local.rest, seed=3)[0]
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(30) == 0
    until(lambda: served_by(remote.rest) == [1, 1])
    assert (first.address, [0]) not in servers()
    assert (third.address, [0, 1]) in servers()


def test_dht_and_orchestrator_tell_of_the_same_servers(
    serve_expert, orchestrate, trained_uri, tmp_path, told
):
    lab = tmp_path / "lab"
    told("certs", str(lab), "--gateway", "web", "--server", "127.0.0.1")
    with dht.peer(lab) as peer:
        peers = f'membership.peers=["{peer}"]'
        settings = (peers, f"expert_server.tls={lab / 'servers' / '127.0.0.1'}")
        begun = [serve_expert(number, settings=settings) for number in (0, 1)]
        servers = [serve_expert.ready(each) for each in begun]
        orchestrate(tls=str(lab))

        def seen():
            asked = ("-s", f"run.uri={trained_uri}", "-s", f"orchestrator.tls={lab}", "-s", peers)
            rows = told("peers", *asked)
            return {(each["address"], each["works_on"], each["told_by"]) for each in rows}

        both = "the DHT and the orchestrator"
        wanted = {(each.address, f"expert {k}", both) for k, each in enumerate(servers)}
        until(lambda: wanted <= seen(), seconds=60)
        servers[1].process.send_signal(signal.SIGTERM)
        assert servers[1].process.wait(30) == 0
        assert {address for address, works_on, _ in seen() if works_on} == {servers[0].address}
