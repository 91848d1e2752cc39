"""Experts that take turns in a memory that has no room for all."""

from __future__ import annotations

import math
import threading
import time

import pytest
import torch

from atoll.errors import BadInput, BlobError, CheckpointDamaged
from serving.memory.host import HostMemory
from serving.memory.residency import Residency
from serving.memory.shelf import Shelf
from serving.memory.source import Source
from tests.serving.conftest import CPU, NUM_EXPERTS, Told, request_of, run


def until(holds):
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


@pytest.fixture
def bell():
    return threading.Event()


@pytest.fixture
def make_memory(bell, clock):
    made = []

    def make(budget_bytes, host_bytes=0, **more):
        made.append(Residency(budget_bytes, HostMemory(host_bytes, CPU), bell, clock, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def make(make_memory):
    """A shelf of a memory of its own, on which nobody guesses."""

    def make_(sources, budget_bytes, *, guess=False, **more):
        memory = make_memory(budget_bytes, **more)
        if not guess:
            memory.spare(())
        return Shelf(memory, sources)

    return make_


def source(name, expert, read=dict, key=None):
    return Source(key or name, expert, name, 10, read, lambda _: name)


def named(*names):
    return [source(name, expert) for expert, name in enumerate(names)]


def test_watch_is_told_who_comes_and_leaves(make):
    told = []
    shelf = make(named("a", "b"), 10, watch=told.append)
    shelf.tell((), (0,), (), ())
    until(lambda: 0 in shelf.resident)
    shelf.tell((0,), (1,), (), ())
    until(lambda: len(told) == 3)
    assert [(type(it).__name__, it.expert) for it in told] == [
        ("Came", 0),
        ("Left", 0),
        ("Came", 1),
    ]
    assert told[0].num_bytes == 10
    assert told[0].seconds >= 0


def test_experts_that_fit_come_before_anybody_waits(make):
    shelf = make(named("a", "b", "c"), 20, guess=True)
    until(lambda: shelf.resident == {0: "a", 1: "b"})


def test_expert_that_was_read_once_comes_from_host_memory(make):
    reads, told = [], []
    sources = [
        source(name, k, lambda name=name: reads.append(name) or {}) for k, name in enumerate("ab")
    ]
    shelf = make(sources, 10, host_bytes=20, watch=told.append)
    for expert in (0, 1, 0, 1):
        shelf.tell((), (expert,), (), ())
        until(lambda expert=expert: expert in shelf.resident)
        shelf.tell((expert,), (expert,), (), ())
    assert reads == ["a", "b"]
    until(lambda: len(told) == 7)
    came = [it for it in told if type(it).__name__ == "Came"]
    assert [it.from_host for it in came] == [False, False, True, True]


def test_host_memory_keeps_what_was_used_last_within_its_budget():
    reads = []
    host = HostMemory(20, CPU)
    weights = {"w": torch.zeros(1)}
    a, b, c = (
        source(name, k, lambda name=name: reads.append(name) or weights)
        for k, name in enumerate("abc")
    )
    for each in (a, b, a, c):
        assert host.weights(each) is weights
    assert [host.has(each) for each in (a, b, c)] == [True, False, True]
    assert reads == ["a", "b", "c"]
    host.keep_only({"c"})
    assert [host.has(each) for each in (a, b, c)] == [False, False, True]
    assert host.on_device(weights) is weights  # where the device is the processor


def test_editions_share_what_is_of_the_same_checkpoint(make_memory):
    reads, memory = [], make_memory(math.inf)

    def read(key):
        return lambda: reads.append(key) or {}

    old = Shelf(memory, [source("a", 0, read("a")), source("b", 1, read("b"))])
    until(lambda: len(old.resident) == 2)
    new = Shelf(memory, [source("a", 0, read("a")), source("b2", 1, read("b2"))])
    until(lambda: new.resident == {0: "a", 1: "b2"})
    assert reads == ["a", "b", "b2"]
    old.close()
    assert set(memory.resident) == {"a", "b2"}
    new.close()
    assert not memory.resident


def test_expert_that_is_damaged_is_lost_with_the_reason(make, clock):
    tries = []

    def damaged():
        tries.append(1)
        raise CheckpointDamaged("weights are gone")

    shelf = make([source("a", 0, damaged), *named("b", "b")[1:]], 20)
    shelf.tell((), (0, 1), (), ())
    until(lambda: shelf.resident == {1: "b"})
    assert shelf.lost == {0}
    clock.now += 1e6
    shelf.tell((), (0,), (), ())
    time.sleep(0.05)
    assert len(tries) == 1
    assert shelf.lost


def test_expert_whose_store_is_away_is_tried_again_then_lost_for_a_while(make, clock):
    tries, is_away = [], True

    def away():
        tries.append(1)
        if is_away:
            raise BlobError("no answer")
        return {}

    shelf = make([source("a", 0, away)], 10)
    for number in range(1, 6):
        assert not shelf.lost
        shelf.tell((), (0,), (), ())
        until(lambda number=number: len(tries) == number)
        until(lambda: bool(shelf.lost) == (len(tries) == 5))
        clock.now += 0.5 * 2 ** (number - 1) + 0.1 if number < 5 else 0
    assert shelf.lost == {0}
    shelf.tell((), (0,), (), ())
    time.sleep(0.05)
    assert len(tries) == 5
    is_away = False
    clock.now += 31
    assert not shelf.lost
    shelf.tell((), (0,), (), ())
    until(lambda: shelf.resident == {0: "a"})


def test_thread_that_loads_outlives_whatever_loading_raises(make, clock):
    def broken():
        if clock.now < 1001:
            torch.empty(2**50)
        return {}

    shelf = make([source("a", 0, broken), *named("b", "b")[1:]], 20)
    shelf.tell((), (0, 1), (), ())
    until(lambda: shelf.resident == {1: "b"})
    clock.now += 2
    shelf.tell((), (0, 1), (), ())
    until(lambda: len(shelf.resident) == 2)


def test_nobody_waits_for_a_thread_that_has_died(make):
    def hear(told):
        raise RuntimeError(told)

    shelf = make(named("a", "b"), 20, watch=hear)
    shelf.tell((), (0, 1), (), ())
    until(lambda: shelf.lost)
    assert shelf.lost == {1}


def test_budget_below_one_expert_is_refused(make):
    with pytest.raises(BadInput, match=r"serving\.memory_gb"):
        make(named("a"), 9)


@pytest.mark.parametrize("room", [1, 2])
def test_engine_draws_the_same_with_room_for_some_experts(  # noqa: PLR0917 - fixtures
    make_memory, make_engine, networks, alone, bell, room
):
    sources = [
        Source(str(k), k, str(k), 10, dict, lambda _, network=network: network)
        for k, network in enumerate(networks)
    ]
    told, loads = {}, []
    shelf = Shelf(make_memory(10 * room, watch=loads.append), sources)
    engine = make_engine(experts=shelf)
    requests = [
        request_of(f"{strategy} {guidance}", [1, 2, 3], guidance=guidance, strategy=strategy)
        for strategy in ("full", "top-1", "top-2", "ancestral")
        for guidance in (1.0, 2.0)
    ]
    for request in requests:
        told[request.name] = Told()
        engine.submit(request, told[request.name])
    while engine.num_images:
        if not engine.tick():
            bell.wait(0.01)
    assert run(engine) == 0
    for request in requests:
        images = told[request.name].images
        assert (images - alone(request)).abs().max() <= 1e-5
    assert len(loads) > NUM_EXPERTS
