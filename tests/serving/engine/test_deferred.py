"""Experts that answer later, in any order, or not at all: the images are the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from atoll.errors import Unreachable
from serving.engine.alone import row_by_row
from serving.engine.events import Done, Failed
from tests.serving.conftest import Told, request_of
from tests.serving.engine.test_deterministic import ASKED, drawn


@dataclass
class Late:
    """An answer that is not there before it is let out."""

    work: Callable[[], Tensor]
    told: Callable[[], None]
    num_rows: int
    is_out: bool = False
    is_withdrawn: bool = False

    def cancel(self) -> None:
        self.is_withdrawn = True

    def done(self) -> bool:
        return self.is_out

    def result(self) -> Tensor:
        return self.work()


@dataclass
class Elsewhere:
    """Experts whose answers wait in one pile until somebody lets them out."""

    pile: list[Late] = field(default_factory=list)

    def expert(self, network):
        elsewhere = self

        class Expert:
            def __call__(self, x_t, t, cond):
                raise AssertionError("nobody waits for it")

            def begin(self, x_t, t, cond, told):
                late = Late(lambda: network(x_t, t, cond), told, len(t))
                elsewhere.pile.append(late)
                return late

        return Expert()

    def let_out(self, late: Late) -> None:
        self.pile.remove(late)
        late.is_out = True
        late.told()


@pytest.fixture
def elsewhere():
    return Elsewhere()


@pytest.fixture
def exact(make_engine, memory, gate):
    memory.resident = {k: row_by_row(it) for k, it in memory.resident.items()}
    return lambda **more: make_engine(gate=row_by_row(gate), **more)


def test_images_have_the_same_bits_whoever_answers_first(exact, memory, elsewhere):
    here = {request.name: drawn(exact(), [request])[request.name] for request in ASKED}
    local = memory.resident
    memory.resident = {
        k: elsewhere.expert(it) if k != 1 else it  # one is here, between two that are not
        for k, it in local.items()
    }
    order = random.Random(0)

    def let_some_out(_):
        for late in order.sample(elsewhere.pile, len(elsewhere.pile) // 2) or elsewhere.pile[:1]:
            elsewhere.let_out(late)

    there = drawn(exact(num_slots=4, most_rows=4), ASKED, let_some_out)
    for name, images in here.items():
        assert torch.equal(there[name], images), name


def test_requests_are_asked_about_while_others_wait_for_their_answers(
    make_engine, memory, elsewhere
):
    memory.resident = {k: elsewhere.expert(it) for k, it in memory.resident.items()}
    engine, told = make_engine(most_rows=2), {}
    for seed in range(4):
        request = request_of(str(seed), [seed], steps=1)
        engine.submit(request, told.setdefault(request.name, Told()))
    for _ in range(4):
        engine.tick()
    assert sum(late.num_rows for late in elsewhere.pile) == 4
    while elsewhere.pile:
        elsewhere.let_out(elsewhere.pile[-1])
    engine.tick()
    assert all(isinstance(its.events[-1], Done) for its in told.values())


def test_expert_that_is_not_reached_is_asked_again_and_nothing_is_heard_twice(
    exact, memory, elsewhere
):
    here = drawn(exact(), ASKED)
    memory.resident = {k: elsewhere.expert(it) for k, it in memory.resident.items()}
    order = random.Random(1)

    def unreachable():
        raise Unreachable("so it was commanded")

    def let_out(_):
        for late in list(elsewhere.pile):
            if order.random() < 0.4:
                late.work = unreachable
            elsewhere.let_out(late)

    there = drawn(exact(), ASKED, let_out)
    for name, images in here.items():
        assert torch.equal(there[name], images), name


def test_answer_for_an_image_that_is_no_more_is_not_taken_for_its_successor(
    exact, memory, elsewhere
):
    wanted = request_of("wanted", [3], steps=2, strategy="full")
    here = drawn(exact(), [wanted])["wanted"]
    memory.resident = {k: elsewhere.expert(it) for k, it in memory.resident.items()}
    engine, told = exact(num_slots=1), Told()
    engine.submit(request_of("unwanted", [4], steps=2, strategy="full"), Told())
    engine.tick()
    old = list(elsewhere.pile)
    engine.cancel("unwanted")
    engine.submit(wanted, told)
    engine.tick()
    assert all(late.is_withdrawn for late in old)
    assert not any(late.is_withdrawn for late in elsewhere.pile if late not in old)
    for late in old:
        elsewhere.let_out(late)
    while not told.is_over:
        engine.tick()
        for late in list(elsewhere.pile):
            elsewhere.let_out(late)
    assert torch.equal(told.images, here)


def test_answer_that_somebody_else_waits_for_is_not_withdrawn_with_one_of_its_images(
    exact, memory, elsewhere
):
    wanted = request_of("wanted", [3], steps=2, strategy="full")
    here = drawn(exact(), [wanted])["wanted"]
    memory.resident = {k: elsewhere.expert(it) for k, it in memory.resident.items()}
    engine, told = exact(num_slots=2), Told()
    engine.submit(request_of("unwanted", [4], steps=2, strategy="full"), Told())
    engine.submit(wanted, told)
    engine.tick()
    assert all(late.num_rows == 2 for late in elsewhere.pile)
    engine.cancel("unwanted")
    while not told.is_over:
        engine.tick()
        for late in list(elsewhere.pile):
            assert not late.is_withdrawn
            elsewhere.let_out(late)
    assert torch.equal(told.images, here)


def test_request_whose_rows_an_expert_elsewhere_cannot_take_fails_alone(exact, memory, elsewhere):
    memory.resident = {k: elsewhere.expert(it) for k, it in memory.resident.items()}
    engine, bad, good = exact(), Told(), Told()
    engine.submit(request_of("bad", [1], steps=1), bad)
    engine.tick()
    (late,) = elsewhere.pile

    def refuse():
        raise ValueError("so it was commanded")

    late.work = refuse
    elsewhere.let_out(late)
    engine.submit(request_of("good", [2], steps=1), good)
    while not good.is_over:
        engine.tick()
        for each in list(elsewhere.pile):
            elsewhere.let_out(each)
    assert isinstance(bad.events[-1], Failed)
    assert "so it was commanded" in bad.events[-1].reason
    assert isinstance(good.events[-1], Done)
