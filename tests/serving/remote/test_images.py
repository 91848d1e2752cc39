"""Images by experts elsewhere are those by experts here, whatever lies between."""

from __future__ import annotations

import contextlib
import time

import pytest
import torch

from serving.engine.alone import row_by_row
from serving.engine.events import Done, Progress
from tests.proxy import Proxy
from tests.serving.conftest import Told, request_of
from tests.serving.engine.test_deterministic import ASKED, drawn


@pytest.fixture
def exact(make_engine, memory, gate):
    """An engine in deterministic mode, of experts here or elsewhere."""
    memory.resident = {k: row_by_row(it) for k, it in memory.resident.items()}
    return lambda **more: make_engine(gate=row_by_row(gate), **more)


@pytest.fixture
def here(exact):
    return drawn(exact(), ASKED)


def drawn_elsewhere(engine, asked=ASKED, befall=lambda tick: None):
    """Images of requests, while this and that befalls the servers; none is lost."""
    told = {request.name: Told() for request in asked}
    for request in asked:
        engine.submit(request, told[request.name])
    tick = 0
    while engine.num_images:
        if engine.tick():
            befall(tick)
            tick += 1
        else:
            time.sleep(0.001)
    assert all(isinstance(its.events[-1], Done) for its in told.values())
    return {name: its.images for name, its in told.items()}


@pytest.mark.parametrize("delay_ms", [0, 20, 80, 200])
def test_images_have_the_same_bits_however_far_away_their_experts_are(
    exact, here, serve, gateway, delay_ms
):
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Proxy(serve([k]).port, delay_ms / 2000)) for k in range(3)]
        experts = gateway([wire.address for wire in wires]).ready()
        there = drawn_elsewhere(exact(experts=experts))
    for name, images in here.items():
        assert torch.equal(there[name], images), name


@pytest.mark.parametrize("most_steps", [1, 8])
@pytest.mark.parametrize("ticks", [(2, 4, 6, 8), (4, 4, 4, 4)], ids=["in turn", "at once"])
def test_no_request_is_lost_and_none_is_wrong_while_servers_die_and_wires_are_cut(  # noqa: PLR0917
    exact, here, serve, gateway, most_steps, ticks
):
    with contextlib.ExitStack() as stack:
        servers = [serve() for _ in range(5)]
        wires = [stack.enter_context(Proxy(each.port, 0.01)) for each in servers]
        experts = gateway([wire.address for wire in wires]).ready()
        # One of five is left.
        blows = (servers[0].kill, wires[1].cut, wires[2].freeze, servers[3].kill)

        def befall(tick):
            for at, blow in zip(ticks, blows, strict=True):
                if tick == at:
                    blow()

        there = drawn_elsewhere(exact(experts=experts, most_steps=most_steps), befall=befall)
    for name, images in here.items():
        assert torch.equal(there[name], images), name


def test_images_are_drawn_by_the_others_once_an_expert_is_waited_for_no_more(
    make_engine, serve, gateway
):
    its = [serve([0, 1]), serve([2])]
    experts = gateway([each.address for each in its], wait_s=0.3).ready()
    engine, told = make_engine(experts=experts), Told()
    engine.submit(request_of("a", [1], strategy="full", steps=50), told)
    its[1].kill()
    while engine.num_images:
        if not engine.tick():
            time.sleep(0.001)
    steps = [it for it in told.events if isinstance(it, Progress)]
    assert steps[-1].without == (2,)
    assert isinstance(told.events[-1], Done)


def test_requests_wait_while_an_expert_has_no_server_and_go_on_with_the_next(
    exact, here, serve, gateway
):
    addresses = []
    its = [serve([0, 1]), serve([2])]
    addresses += [each.address for each in its]
    experts = gateway(addresses).ready()

    def befall(tick):
        if tick == 3:
            its[1].kill()
            addresses.append(serve([2]).address)

    there = drawn_elsewhere(exact(experts=experts), befall=befall)
    for name, images in here.items():
        assert torch.equal(there[name], images), name
