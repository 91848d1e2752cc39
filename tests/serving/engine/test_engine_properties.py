"""Whoever comes, goes, is cancelled or in memory, and whenever: none starved, lost or doubled."""

from __future__ import annotations

import math
import threading
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.flow import per_row
from serving.engine.engine import Engine
from serving.engine.events import Done, Failed, Painted, Progress
from serving.engine.model import Model
from serving.engine.schedule import SPREAD_S
from tests.fakes import ManualClock
from tests.serving.conftest import (
    CLASSES,
    CPU,
    NUM_EXPERTS,
    SHAPE,
    Memory,
    Told,
    most_skipped,
    request_of,
)

NUM_SLOTS, MOST_ROWS = 4, 4


def field(expert):
    """Cheap, and another one for each expert."""

    def velocity(x, t, cond):
        return 0.1 * (expert + 1) * x + per_row(t, x) + 0.01 * per_row(cond.to(x.dtype), x)

    return velocity


def cheap_gate(x, t, cond):
    logits = torch.stack([x.mean((1, 2, 3)), t, 0.3 * cond.to(x.dtype)], 1)
    return logits.softmax(1)


FIELDS = {expert: field(expert) for expert in range(NUM_EXPERTS)}
ASKED = st.fixed_dictionaries(
    {
        "num": st.integers(1, 6),
        "steps": st.integers(1, 5),
        "solver": st.sampled_from(["euler", "heun", "midpoint"]),
        "guidance": st.sampled_from([1.0, 2.0]),
        "strategy": st.sampled_from(["full", "top-1", "top-2", "sample", "ancestral"]),
        "patience_s": st.sampled_from([0.1, 10.0]),
    }
)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), ASKED),
        st.tuples(st.just("tick"), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("reside"), st.sets(st.sampled_from(sorted(FIELDS)))),
        st.tuples(st.just("wait"), st.floats(0, 5)),
    ),
    max_size=25,
)


class Scene:
    """An engine, all that it told, and what may be true of it at any time."""

    def __init__(self):
        self.memory, self.clock, self.ticks = Memory(dict(FIELDS)), ManualClock(), []
        self.engine = Engine(
            Model(self.memory, cheap_gate, CLASSES, SHAPE, CPU),
            self.clock,
            threading.Event(),
            num_slots=NUM_SLOTS,
            most_rows=MOST_ROWS,
            watch=self.ticks.append,
        )
        self.asked, self.told, self.cancelled = [], [], set()

    def ask(self, num, **more):
        number = len(self.asked)
        seeds = [100 * number + place for place in range(num)]
        self.asked.append(request_of(str(number), seeds, **more))
        self.told.append(Told())
        self.engine.submit(self.asked[-1], self.told[-1])
        return self.told[-1]

    def tick(self):
        self.engine.tick()
        self.clock.now += 0.01
        left = sum(
            len(request.seeds) - sum(isinstance(it, Painted) for it in told.events)
            for request, told in zip(self.asked, self.told, strict=True)
            if not told.is_over
        )
        last = self.ticks[-1]
        assert last.num_drawn + last.num_queued == left == self.engine.num_images
        assert last.num_drawn <= NUM_SLOTS
        assert sum(last.rows) <= MOST_ROWS * NUM_EXPERTS
        for number in self.cancelled:
            assert self.told[number].is_over, "a tick has passed since it was cancelled"

    def end(self):
        """Experts take turns, one at a time, until all is over."""
        work = sum(len(it.seeds) * it.sampling.steps for it in self.asked)
        for turn in range(8 * NUM_EXPERTS * (work + 1)):
            if not self.engine.num_images:
                return
            self.memory.resident = {turn % NUM_EXPERTS: FIELDS[turn % NUM_EXPERTS]}
            self.tick()
        raise AssertionError("somebody starves")


@settings(max_examples=20)
@given(MOVES)
def test_every_request_ends_once_with_all_its_steps_in_order(moves):
    scene = Scene()
    for move, what in moves:
        match move:
            case "ask":
                scene.ask(**what)
            case "tick":
                for _ in range(what):
                    scene.tick()
            case "cancel" if what < len(scene.asked):
                scene.engine.cancel(str(what))
                if not scene.told[what].is_over:
                    scene.cancelled.add(what)
            case "reside":
                scene.memory.resident = {expert: FIELDS[expert] for expert in what}
            case "wait":
                scene.clock.now += what
    scene.end()
    for number, (request, told) in enumerate(zip(scene.asked, scene.told, strict=True)):
        last = told.events[-1]
        assert isinstance(last, Failed if number in scene.cancelled else Done)
        steps = [(it.position, it.step) for it in told.events if isinstance(it, Progress)]
        assert max(Counter(steps).values(), default=1) == 1, "a step is doubled"
        for position in range(len(request.seeds)):
            its = [step for place, step in steps if place == position]
            assert its == list(range(1, len(its) + 1)), "a step is lost, or out of order"
            assert isinstance(last, Failed) or len(its) == request.sampling.steps


@settings(max_examples=20)
@given(st.integers(0, 8), st.integers(1, 30))
def test_slots_of_a_request_cancelled_at_any_tick_are_another_ones_at_the_next(tick, num):
    scene = Scene()
    scene.ask(num, steps=20)
    for _ in range(tick):
        scene.tick()
    scene.engine.cancel("0")
    scene.cancelled.add(0)
    scene.ask(NUM_SLOTS, steps=2)
    scene.tick()
    assert (scene.ticks[-1].num_drawn, scene.ticks[-1].num_queued) == (NUM_SLOTS, 0)


@settings(max_examples=15)
@given(
    st.integers(1, 300),
    st.integers(1, 4),
    st.sampled_from([0.1, 1.0, 10.0]),
    st.integers(0, 12),
    st.booleans(),
)
def test_request_is_delayed_by_another_for_a_bounded_time_however_large_that_is(
    num, steps, patience_s, ticks_between, guided
):
    scene = Scene()
    scene.ask(num, steps=steps, guidance=2.0 if guided else 1.0, patience_s=patience_s)
    large_due_at = scene.clock.now + patience_s
    for _ in range(ticks_between):
        scene.tick()
    small_due_at = scene.clock.now + 1.0
    small = scene.ask(1, steps=2, patience_s=1.0)
    # Those of the large one that are due before it, and those that have slots already.
    ahead = max(0, math.floor((small_due_at - large_due_at) / SPREAD_S) + 1)
    work = (min(num, ahead) + NUM_SLOTS + 1) * max(steps, 2) * (2 if guided else 1)
    assert ahead <= 10 / SPREAD_S
    for _ in range(math.ceil(work / (MOST_ROWS // 2))):
        scene.tick()
        if small.is_over:
            return
    pytest.fail("it waits for more than is due before it")


def test_image_whose_expert_nobody_else_needs_makes_its_steps_beside_a_long_request():
    """Those that share the other expert are all due before it, and would fill every batch."""

    def by_class(x, t, cond):
        return torch.nn.functional.one_hot(cond, NUM_EXPERTS).to(x.dtype)

    engine = Engine(
        Model(Memory(dict(FIELDS)), by_class, CLASSES, SHAPE, CPU),
        ManualClock(),
        threading.Event(),
        num_slots=8,
        most_rows=5,
    )
    told, long = Told(), Told()
    engine.submit(request_of("long", [3 * seed for seed in range(7)], steps=300), long)
    engine.submit(request_of("lonely", [1], steps=3, patience_s=11), told)
    for _ in range(3 * (most_skipped(8, 5) + 1)):
        engine.tick()
    assert isinstance(told.events[-1], Done)
    assert not long.is_over
