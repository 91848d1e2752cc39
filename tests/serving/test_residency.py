"""Experts that take turns in a memory that has no room for all."""

from __future__ import annotations

import threading
import time

import pytest

from atoll.errors import BadInput, CheckpointDamaged
from serving.residency import Residency, Source
from tests.serving.conftest import NUM_EXPERTS, Told, request_of, run


def until(holds):
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


@pytest.fixture
def bell():
    return threading.Event()


@pytest.fixture
def make(bell):
    made = []

    def make_(sources, budget_bytes, **more):
        made.append(Residency(sources, budget_bytes, bell, **more))
        return made[-1]

    yield make_
    for each in made:
        each.close()


def named(*names):
    return [Source(10, lambda name=name: name) for name in names]


def test_wanted_expert_comes_and_least_recently_used_leaves(make):
    memory = make(named("a", "b", "c"), 20)
    memory.tell((), (0, 1))
    until(lambda: memory.resident == {0: "a", 1: "b"})
    memory.tell((1,), (0, 1))
    memory.tell((0,), (0, 1))  # later than 1
    memory.tell((), (2,))
    until(lambda: memory.resident == {0: "a", 2: "c"})


def test_watch_is_told_who_comes_and_leaves(make):
    told = []
    memory = make(named("a", "b"), 10, watch=told.append)
    memory.tell((), (0,))
    until(lambda: 0 in memory.resident)
    memory.tell((0,), (1,))
    until(lambda: len(told) == 3)
    assert [(type(it).__name__, it.expert) for it in told] == [
        ("Came", 0),
        ("Left", 0),
        ("Came", 1),
    ]
    assert told[0].num_bytes == 10
    assert told[0].seconds >= 0


def test_expert_that_nobody_waits_for_leaves_before_one_that_is_waited_for(make):
    memory = make(named("a", "b", "c"), 20)
    memory.tell((), (0, 1))
    until(lambda: len(memory.resident) == 2)
    memory.tell((0,), (0, 1))
    memory.tell((1,), (0, 1))
    memory.tell((), (0, 2))
    until(lambda: memory.resident == {0: "a", 2: "c"})


def test_expert_stays_until_it_was_used_or_nobody_waits_for_it(make):
    memory = make(named("a", "b"), 10)
    memory.tell((), (0, 1))
    until(lambda: memory.resident == {0: "a"})
    memory.tell((), (1, 0))
    time.sleep(0.05)
    assert memory.resident == {0: "a"}
    memory.tell((), (1,))
    until(lambda: memory.resident == {1: "b"})


def test_expert_that_cannot_be_loaded_is_lost_with_the_reason(make):
    def damaged():
        raise CheckpointDamaged("weights are gone")

    memory = make([Source(10, damaged), *named("b")], 20)
    memory.tell((), (0, 1))
    until(lambda: memory.resident == {1: "b"})
    assert memory.lost == {0: "weights are gone"}


def test_budget_below_one_expert_is_refused(make):
    with pytest.raises(BadInput, match=r"serving\.memory_gb"):
        make(named("a"), 9)


@pytest.mark.parametrize("room", [1, 2])
def test_engine_draws_the_same_with_room_for_some_experts(  # noqa: PLR0917 - fixtures
    make, make_engine, networks, alone, bell, room
):
    sources = [Source(10, lambda network=network: network) for network in networks]
    residency = make(sources, 10 * room)
    engine = make_engine(experts=residency)
    told = {}
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
    assert residency.num_loads > NUM_EXPERTS
