"""Reuse between steps saves what it says, and changes nothing where it does not apply."""

from __future__ import annotations

import math

import pytest
import torch

from experts.condition import Conditioning
from experts.converted import Converted
from experts.networks import build_network
from experts.reuse import is_parted, velocity_again, velocity_anew
from experts.schedule import NoiseSchedule
from serving.engine.events import Progress
from serving.engine.hearing import Question
from serving.engine.reuse import Reuse
from serving.engine.thrift import Thrift
from tests.experts.stirred import stirred
from tests.serving.conftest import CPU, Told, request_of
from tests.serving.engine.test_deterministic import drawn

ASKED = [
    request_of("bound", [1, 2], steps=12, strategy="ancestral", guidance=2.0),
    request_of("top", [3, 4], steps=12, solver="heun"),
    request_of("every", [5], steps=6, strategy="full"),
]


class Spying:
    """An expert whose blocks count how many rows they were asked about."""

    def __init__(self, network):
        self.network, self.num_rows = network, 0

    def __call__(self, x_t, t, cond):
        self.num_rows += len(x_t)
        return self.network(x_t, t, cond)

    def embed(self, x_t, t, cond=None):
        return self.network.embed(x_t, t, cond)

    def advance(self, *streams):
        self.num_rows += len(streams[0])
        return self.network.advance(*streams)

    def finish(self, *streams, shape=None):
        return self.network.finish(*streams, shape=shape)


@pytest.fixture
def spied(memory):
    memory.resident = {k: Spying(it) for k, it in memory.resident.items()}
    return memory.resident


def rows_of(spied):
    return sum(each.num_rows for each in spied.values())


def count(spied, engine, asked=ASKED):
    for each in spied.values():
        each.num_rows = 0
    images = drawn(engine, asked)
    return images, rows_of(spied)


def points(engine, request):
    """Its image after each of its steps, with what was reused."""
    told = Told()
    engine.submit(request, told)
    while engine.tick() or engine.num_images:
        pass
    return told


@pytest.mark.parametrize("told", ["epsilon", "v", None])
@pytest.mark.parametrize("kind", ["class", "none"])
def test_what_blocks_add_gives_the_same_velocity_at_the_same_point(told, kind):
    from tests.experts.parallel.scenes import SIZES

    condition = Conditioning(kind, 3 if kind == "class" else 0)
    field = stirred(build_network(SIZES, condition, (1, 8, 8), seed=0), 0.05).eval()
    if told is not None:
        field = Converted(field, told, NoiseSchedule("linear"))
    cond = torch.tensor([0, 2]) if kind == "class" else None
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.8])
    with torch.no_grad():
        velocity, added = velocity_anew(field, x, t, cond)
        assert torch.equal(velocity, field(x, t, cond))
        torch.testing.assert_close(velocity_again(field, x, t, cond, added), velocity)
        nearby = velocity_again(field, x + 0.01, t - 0.01, cond, added)
        assert 0 < (nearby - field(x + 0.01, t - 0.01, cond)).norm() / velocity.norm() < 0.1


def test_blocks_are_asked_once_for_so_many_evaluations_of_an_image_by_an_expert(make_engine, spied):
    bound = ASKED[:1]
    plain, num_plain = count(spied, make_engine(), bound)
    thrifty, num_thrifty = count(spied, make_engine(thrift=Thrift(blocks=3)), bound)
    assert num_plain == 2 * 12 * 2  # two images of two branches
    assert num_thrifty == num_plain / 3
    off = (thrifty["bound"] - plain["bound"]).norm() / plain["bound"].norm()
    assert 0 < off < 0.5


def test_blocks_are_asked_sooner_where_an_image_has_changed(make_engine, spied):
    _, always = count(spied, make_engine(thrift=Thrift(blocks=12, change=1e-9)), ASKED[:1])
    _, sooner = count(spied, make_engine(thrift=Thrift(blocks=12, change=0.2)), ASKED[:1])
    _, once = count(spied, make_engine(thrift=Thrift(blocks=12)), ASKED[:1])
    assert always == 48
    assert once == 4
    assert once < sooner < always


def test_another_expert_begins_anew_and_so_does_another_image(make_engine, spied, monkeypatch):
    known = []
    monkeypatch.setattr(
        Reuse, "_is_known", lambda self, question, do=Reuse._is_known: known.append(
            (question, self._expert[question.slot, question.branch], do(self, question))
        ) or known[-1][2]
    )  # fmt: skip
    drawn(make_engine(num_slots=2, thrift=Thrift(blocks=100)), ASKED)
    for question, before, is_known in known:
        assert not (is_known & (before != question.expert)).any()
    assert any(is_known.any() for *_, is_known in known)
    _, first = count(spied, make_engine(num_slots=1, thrift=Thrift(blocks=100)), ASKED[:1])
    assert first == 4  # two images in one slot, of two branches each


def test_router_is_asked_once_for_so_many_points_and_drawing_ones_at_each(make_engine, gate):
    asked = []

    def counting(x_t, t, cond):
        asked.append(len(x_t))
        return gate(x_t, t, cond)

    top = request_of("top", [3], steps=12)
    drawn(make_engine(gate=counting), [top])
    assert sum(asked) == 12
    asked.clear()
    told = points(make_engine(gate=counting, thrift=Thrift(routes=4)), top)
    assert sum(asked) == 3
    weights = [it.weights for it in told.events if isinstance(it, Progress)]
    assert all(len(set(weights[i : i + 4])) == 1 for i in (0, 4, 8))
    asked.clear()
    drawn(
        make_engine(gate=counting, thrift=Thrift(routes=4)),
        [request_of("drawn", [7], steps=12, strategy="sample")],
    )
    assert sum(asked) == 12


def test_route_is_not_held_for_an_expert_that_is_lost(make_engine, memory):
    engine, told = make_engine(thrift=Thrift(routes=100)), Told()
    engine.submit(request_of("a", [1], strategy="full", steps=10), told)
    for tick in range(100):
        if tick == 4:
            memory.lost = {1}
            memory.resident = {k: it for k, it in memory.resident.items() if k != 1}
        if not engine.tick() and not engine.num_images:
            break
    steps = [it for it in told.events if isinstance(it, Progress)]
    assert [bool(step.without) for step in steps] == [step.weights[1] == 0 for step in steps]
    assert steps[-1].without == (1,)


def test_blocks_that_are_asked_each_time_give_the_same_images(make_engine, spied):
    plain, num = count(spied, make_engine())
    again, same = count(spied, make_engine(thrift=Thrift(blocks=100, change=1e-9)))
    assert num == same
    for name, images in plain.items():
        torch.testing.assert_close(again[name], images, rtol=0, atol=1e-5)


def test_what_is_reused_is_told_in_words():
    assert Thrift(4, 0.1, 2).told == "blocks 4, change 0.1, routes 2"
    assert Thrift(4, math.inf, 1).told == "blocks 4"
    assert Thrift(1, 0.1, 3).told == "routes 3"
    assert Thrift(2, displaced=True).told == "blocks 2, tokens of other ranks"


def test_field_of_unknown_parts_is_asked_each_time(memory):
    assert is_parted(memory.resident[0])
    assert not is_parted(lambda *_: None)
    question = Question(0, *torch.zeros(3, 1).long(), torch.ones(1), *torch.rand(2, 1), None)
    said = Reuse(2, Thrift(blocks=5), CPU).velocity(lambda x, t, _: x + t, question)
    assert torch.equal(said, question.x + question.t)
