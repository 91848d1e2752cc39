"""A gateway and servers of experts as real processes, and what befalls them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from atoll.__main__ import main
from tests import dht
from tests.integration.runs import words_of
from tests.namespaces import network
from tests.serving.remote.conftest import until

pytestmark = pytest.mark.timeout(300)


def ask(rest, **wish):
    """Images by a service, as PNGs, and what else it says of each."""
    body = json.dumps({"prompt": "3", "strategy": "full", **wish}).encode()
    call = urllib.request.Request(  # noqa: S310 - of this machine
        f"{rest}/v1/images/generations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=120) as answer:  # noqa: S310
        data = json.load(answer)["data"]
    return [base64.b64decode(each.pop("b64_json")) for each in data], data


@dataclass
class Server:
    """``atoll serve-expert`` as a process."""

    process: subprocess.Popen[str]
    address: str
    log: object


@pytest.fixture
def serve_expert(trained_uri, tmp_path):
    """Starts servers of experts, with some settings."""
    with contextlib.ExitStack() as stack:

        def start(*numbers, settings=(), within=()):
            options = [f"--set={each}" for each in ("expert_server.listen=127.0.0.1:0", *settings)]
            experts = [word for number in numbers for word in ("--expert", str(number))]
            command = [sys.executable, "-m", "atoll", "serve-expert", trained_uri, "--json"]
            log = (tmp_path / f"expert-{len(started)}.log").open("w+")
            stack.enter_context(log)
            process = subprocess.Popen(
                [*within, *command, *experts, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
            return process, log

        def ready(begun):
            process, log = begun
            line = process.stdout.readline()
            log.seek(0)
            assert line, log.read()
            return Server(process, json.loads(line)["grpc"], log)

        started: list[subprocess.Popen[str]] = []
        start.ready = ready
        yield start


def served_by(rest):
    """How many servers of each expert a gateway may ask, as it tells Prometheus."""
    with urllib.request.urlopen(f"{rest}/metrics", timeout=10) as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    told = (each for each in lines if each.startswith("atoll_expert_servers{"))
    return [int(float(each.split()[1])) for each in told]


def test_gateway_goes_on_while_servers_are_killed_and_frozen_and_comes_back_to_them(
    serve_run, serve_expert
):
    local = serve_run("deterministic=true")
    begun = [serve_expert(0, 1) for _ in range(4)]
    servers = [serve_expert.ready(each) for each in begun]
    named = json.dumps([each.address for each in servers])
    remote = serve_run("deterministic=true", f"experts={named}", "experts_deadline_s=20")
    until(lambda: served_by(remote.rest) == [4, 4])
    expected = {seed: ask(local.rest, seed=seed, n=2, steps=40)[0] for seed in range(6)}
    came = {}

    def ask_for(seed):
        came[seed] = ask(remote.rest, seed=seed, n=2, steps=40)

    asking = [threading.Thread(target=ask_for, args=(seed,)) for seed in expected]
    for number, each in enumerate(asking):
        each.start()
        if number == 1:
            servers[0].process.send_signal(signal.SIGKILL)
        if number == 2:
            servers[1].process.send_signal(signal.SIGSTOP)
        if number == 3:
            servers[2].process.send_signal(signal.SIGTERM)
    for each in asking:
        each.join()
    assert servers[2].process.wait(30) == 0
    for seed, images in expected.items():
        assert came[seed][0] == images
        assert not any("without" in each for each in came[seed][1])
    until(lambda: served_by(remote.rest) == [1, 1])
    servers[1].process.send_signal(signal.SIGCONT)
    until(lambda: served_by(remote.rest) == [2, 2])
    assert remote.leaves()
    for each in servers:
        each.log.seek(0)
        assert "Traceback" not in each.log.read()


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


@pytest.fixture
def orchestrate(trained_uri, tmp_path):
    """Starts the run's orchestrator, with some settings of its own."""
    with contextlib.ExitStack() as stack:

        def start(**settings):
            file = Path(trained_uri) / "config.json"
            saved = json.loads(file.read_text())
            saved["orchestrator"] |= settings
            file.write_text(json.dumps(saved))
            command = [sys.executable, "-m", "atoll", "orchestrator", "--run-uri", trained_uri]
            log = stack.enter_context((tmp_path / "orchestrator.log").open("a+"))
            process = subprocess.Popen(command, stderr=log, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def told(capsys):
    """What a command tells programs."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--json"])
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        return json.loads(said.out)

    return call


def test_servers_are_found_by_the_orchestrator_and_asked_on_without_it(
    serve_run, serve_expert, orchestrate, trained_uri, told
):
    def servers():
        seen = told("status", f"--set=run.uri={trained_uri}")["servers"]
        return sorted((each["address"], each["experts"]) for each in seen)

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


def of_peer(lab):
    """The processes of a lab's peer: its own, and what it has started."""
    its = {"peer", str(lab / "ca.crt")}
    (peer,) = (each for each in psutil.Process().children() if its <= set(words_of(each)))
    return [*peer.children(recursive=True), peer]


@contextlib.contextmanager
def secured_hosts(*names, folder):
    """Hosts of a network, and certificates for servers on them."""
    lab = folder / "lab"
    with network(*names) as net:
        hosts = [word for each in net.addresses.values() for word in ("--host", each)]
        with contextlib.suppress(SystemExit):
            main(["certs", str(lab), *hosts, "--gateway", "web"])
        yield net, lab


def on_each(net, lab, serve_expert):
    """A server of both experts on each host."""
    begun = [
        serve_expert(
            *(0, 1),
            settings=[f"expert_server.listen={address}:8210", f"expert_server.tls={lab}"],
            within=net.within(name),
        )
        for name, address in net.addresses.items()
    ]
    return [serve_expert.ready(each) for each in begun]


@pytest.mark.parametrize("steps", [1, 8])
def test_images_are_the_same_to_the_bit_while_packets_are_lost(
    serve_run, serve_expert, tmp_path, steps
):
    with secured_hosts("near", "far", folder=tmp_path) as (net, lab):
        named = json.dumps([each.address for each in on_each(net, lab, serve_expert)])
        local = serve_run("deterministic=true")
        tls = lab / "gateways" / "web"
        settings = [f"experts={named}", f"experts_tls={tls}", f"experts_steps={steps}"]
        remote = serve_run("deterministic=true", *settings)
        until(lambda: served_by(remote.rest) == [2, 2])
        for name in net.addresses:
            net.lose(name, 5)
        for seed in range(4):
            came, told = ask(remote.rest, seed=seed, steps=60, strategy="top-1", exact=True)
            assert came == ask(local.rest, seed=seed, steps=60, strategy="top-1")[0]
            assert "without" not in told[0]
        assert sum(map(net.num_lost, net.addresses)) > 0


def test_images_go_on_to_the_bit_while_a_host_is_cut_off_and_it_is_asked_again_afterwards(
    serve_run, serve_expert, tmp_path
):
    with secured_hosts("near", "far", folder=tmp_path) as (net, lab):
        named = json.dumps([each.address for each in on_each(net, lab, serve_expert)])
        local = serve_run("deterministic=true")
        tls = lab / "gateways" / "web"
        remote = serve_run("deterministic=true", f"experts={named}", f"experts_tls={tls}")
        until(lambda: served_by(remote.rest) == [2, 2])
        expected = {seed: ask(local.rest, seed=seed, steps=60)[0] for seed in range(4)}
        cutting = threading.Timer(0.2, net.cut, ["far"])
        cutting.start()
        for seed, images in expected.items():
            came, told = ask(remote.rest, seed=seed, steps=60, exact=True)
            assert came == images
            assert "without" not in told[0]
        cutting.join()
        until(lambda: served_by(remote.rest) == [1, 1])
        net.heal("far")
        until(lambda: served_by(remote.rest) == [2, 2], 60)


def test_images_are_those_of_one_process_where_a_server_is_several_and_others_draw_once_one_ends(
    serve_expert, serve_run
):
    local = serve_run()
    shared = serve_expert.ready(serve_expert(0, 1, settings=["expert_server.ranks=2"]))
    other = serve_expert.ready(serve_expert(0, 1))
    named = json.dumps([shared.address])
    remote = serve_run(f"experts={named}", "experts_deadline_s=20")
    until(lambda: served_by(remote.rest) == [1, 1])
    for wish in ({"strategy": "full"}, {"strategy": "top-1", "prompt": "7"}):
        (mine,), _ = ask(local.rest, seed=1, **wish)
        (theirs,), _ = ask(remote.rest, seed=1, **wish)
        pair = [np.asarray(Image.open(io.BytesIO(png))).astype(int) for png in (mine, theirs)]
        assert abs(pair[0] - pair[1]).max() <= 1  # a value on the edge between two levels
    assert remote.leaves()

    both = serve_run(f"experts={json.dumps([shared.address, other.address])}")
    until(lambda: served_by(both.rest) == [2, 2])
    (rank,) = (
        each
        for each in psutil.Process(shared.process.pid).children()
        if "multiprocessing.spawn" in " ".join(each.cmdline())
    )
    rank.kill()
    _, told = ask(both.rest, seed=2)
    assert "without" not in told[0]
    assert shared.process.wait(30) == 1
    shared.log.seek(0)
    assert "a rank has ended, without which the others can do nothing" in shared.log.read()
    assert both.leaves()


@pytest.mark.parametrize(("num", "what"), [(3, "2 heads"), (4, "2 heads")])
def test_ranks_that_an_image_cannot_be_dealt_out_to_are_refused(serve_expert, num, what):
    process, log = serve_expert(0, settings=[f"expert_server.ranks={num}"])
    assert process.wait(60) == 2
    log.seek(0)
    assert f"expert_server.ranks = {num} does not divide the {what} of expert 0" in log.read()
