"""A gateway and servers of experts as real processes, and what befalls them."""

from __future__ import annotations

import io
import json
import signal
import threading

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.serving.remote.conftest import until
from tests.serving.remote.processes import ask, on_each, secured_hosts, served_by

pytestmark = pytest.mark.timeout(300)


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
