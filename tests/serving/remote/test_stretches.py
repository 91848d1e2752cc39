"""Images that one server draws for several steps in one go are those drawn step by step."""

from __future__ import annotations

import dataclasses
import math
import threading
import time

import pytest
import torch

from atoll.errors import BadInput
from atoll.wire.v1 import experts_pb2 as wire
from serving.engine.ahead import Ahead
from serving.engine.alone import row_by_row
from serving.engine.hearing import Hearing
from serving.engine.slots import Slots
from serving.engine.stretch import Stretch
from serving.engine.thrift import THRIFTLESS
from serving.expert.servicer import ExpertsServicer
from serving.remote.tensors import encoded
from tests.serving.conftest import CLASSES, CPU, SHAPE, request_of
from tests.serving.engine.test_deterministic import drawn
from tests.serving.remote.conftest import until
from tests.serving.remote.test_images import drawn_elsewhere
from tests.serving.remote.test_pool import expected

ASKED = [
    request_of("plain", [1, 2, 3], steps=20),
    request_of("guided", [4], steps=20, guidance=2.0),
    request_of("twice", [5], steps=9, solver="heun"),
    request_of("bound", [6], steps=20, strategy="ancestral", guidance=1.5),
    request_of("every", [7], steps=5, strategy="full"),
]


@pytest.fixture
def exact(make_engine, memory, gate):
    memory.resident = {k: row_by_row(it) for k, it in memory.resident.items()}
    return lambda **more: make_engine(gate=row_by_row(gate), **more)


@pytest.fixture
def here(exact):
    return drawn(exact(), ASKED)


class Counting(ExpertsServicer):
    """Knows what it was asked: evaluations of a stretch, 0 for rows; once for each of either."""

    def __init__(self, *its):
        super().__init__(*its)
        self.asked = []

    def _take(self, request, *how):
        self.asked += [request.stretch.evaluations] * request.x_t.shape[0]
        super()._take(request, *how)


@pytest.fixture
def counting(serve):
    """A server's address, and what it was asked."""
    made = []
    server = serve(servicer=lambda *its: made.append(Counting(*its)) or made[0])
    return server.address, made[0].asked


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("most_steps", [2, 5, 64])
def test_images_have_the_same_bits_however_many_steps_are_made_in_one_go(
    exact, here, counting, gateway, most_steps
):
    address, asked = counting
    engine = exact(experts=gateway([address]).ready(), most_steps=1)
    assert same(here, drawn_elsewhere(engine, ASKED))
    one_by_one = len(asked)
    assert not any(asked)
    asked.clear()
    engine = exact(experts=gateway([address]).ready(), most_steps=most_steps)
    assert same(here, drawn_elsewhere(engine, ASKED))
    assert len(asked) < one_by_one
    assert min(most_steps, 20) <= max(asked) <= 2 * most_steps  # bound to the end, or twice a step
    assert engine.num_unused > 0  # the router has sent some elsewhere after all


def test_image_that_is_bound_to_one_expert_is_asked_for_once(exact, counting, gateway):
    address, asked = counting
    bound = [each for each in ASKED if each.name == "bound"]
    engine = exact(experts=gateway([address]).ready(), most_steps=64)
    there = drawn_elsewhere(engine, bound)
    assert same(drawn(exact(), bound), there)
    # The first step binds it; what comes then is one stretch.
    assert asked == [20]
    assert engine.num_unused == 0


@pytest.mark.parametrize("num_slots", [1, 3])
def test_images_that_take_turns_in_slots_are_those_that_do_not(
    exact, here, serve, gateway, num_slots
):
    experts = gateway([serve().address]).ready()
    engine = exact(experts=experts, most_steps=8, num_slots=num_slots)
    hasty = [dataclasses.replace(each, patience_s=len(ASKED) - n) for n, each in enumerate(ASKED)]
    assert same(here, drawn_elsewhere(engine, hasty))


def slow(network):
    def field(*its):
        time.sleep(0.05)
        return network(*its)

    return field


def test_stretch_that_takes_longer_than_there_is_time_says_how_far_it_came(exact, serve, gateway):
    bound = [each for each in ASKED if each.name == "bound"]
    experts = gateway([serve(field=slow).address], deadline_s=1.0).ready()
    engine = exact(experts=experts, most_steps=64)
    assert same(drawn(exact(), bound), drawn_elsewhere(engine, bound))  # 20 rows of 2, 0.1 s each
    assert all(each.is_open for each in experts.resident[0].pool.replicas())


def test_stretch_that_came_to_nothing_is_asked_for_shorter():
    ahead, images = Ahead(1, 16, THRIFTLESS), request_of("a", [1], steps=20, strategy="ancestral")
    slots = Slots.empty(1, (SHAPE,), CLASSES, CPU)
    slots.fill(0, images, 0)
    hearing = Hearing.empty(1, 3, slots.num_values, CPU)
    lengths = []
    for _ in range(5):
        at = torch.tensor([0])
        hearing.expect(at, torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]))
        slots.expert[0] = 1
        (question,) = hearing.questions(slots, at, [0, 1, 2], CLASSES)
        ((part, stretch),) = ahead.split(question, slots, hearing)
        lengths.append(None if stretch is None else stretch.evaluations)
        ahead.shorten(part)
    assert lengths == [16, 8, 4, 2, None]


def test_server_that_has_no_room_for_all_of_a_stretch_says_how_far_it_came(
    exact, here, serve, gateway, monkeypatch
):
    monkeypatch.setattr("serving.expert.stretches._most", lambda *_: 3)
    engine = exact(experts=gateway([serve().address]).ready(), most_steps=64)
    assert same(here, drawn_elsewhere(engine, ASKED))


def test_server_without_memory_for_stretches_says_how_far_it_came_and_has_it_back_in_the_end(
    exact, here, serve, gateway, monkeypatch
):
    row = 4 * math.prod(SHAPE)
    monkeypatch.setattr("serving.expert.servicer._MOST_SAID_BYTES", 10 * row)
    made = []
    server = serve(servicer=lambda *its: made.append(Counting(*its)) or made[0])
    engine = exact(experts=gateway([server.address]).ready(), most_steps=64)
    assert same(here, drawn_elsewhere(engine, ASKED))
    assert max(made[0].asked) == 20  # more than there was room for
    until(lambda: made[0]._room.free_bytes == 10 * row)


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_shorter_numbers_on_the_wire_cost_no_more_in_stretches(  # noqa: PLR0917
    exact, here, serve, gateway, dtype, most
):
    experts = gateway([serve().address], dtype=dtype).ready()
    bound = [each for each in ASKED if each.name == "bound"]
    there = drawn_elsewhere(exact(experts=experts, most_steps=64), bound)["bound"]
    assert 0 < (there - here["bound"]).norm() / here["bound"].norm() < most


def some(num=2, **changed):
    keys = {
        "x": torch.randn(num, *SHAPE, generator=torch.Generator().manual_seed(0)),
        "cond": torch.arange(num) % 3,
        "step": torch.tensor([0, 3][:num]),
        "steps": torch.tensor([4, 8][:num]).double(),
        "reach": torch.zeros(num),
        "weight": torch.zeros(num),
        "guidance": torch.tensor([1.0, 2.0][:num]),
        "evaluations": 3,
    }
    return Stretch(**keys | changed)


def test_expert_draws_a_stretch_as_its_words_would_move_it(serve, gateway, networks):
    field, stretch = gateway([serve().address]).ready().resident[1], some()
    said = field.begin_stretch(stretch, lambda: None).result()
    assert said.shape == (3, 3, *SHAPE)  # two images, and one without its condition
    x = stretch.x
    for evaluation in range(3):
        t = (1 - (stretch.step + evaluation) / stretch.steps).float()
        true = expected(networks[1], (x, t, stretch.cond))
        none = expected(networks[1], (x[1:], t[1:], CLASSES.null(1, x.device)))
        assert torch.equal(said[evaluation], torch.cat([true, none]))
        velocity = torch.cat([true[:1], (1 - 2.0) * none + 2.0 * true[1:]])
        dt = (1 - (stretch.step + evaluation + 1) / stretch.steps).double() - t.double()
        x = x + dt.float()[:, None, None, None] * velocity


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"evaluations": 0}, "is of 0 evaluations, and 4 are left"),
        ({"cond": torch.tensor([[0], [1]])}, "takes a class number for each image"),
        ({"cond": torch.tensor([0.0, 1.0])}, "takes a class number for each image"),
        ({"evaluations": 5}, "is of 5 evaluations, and 4 are left"),
        ({"step": torch.tensor([4, 0])}, "begins at a step of its own"),
        ({"steps": torch.tensor([4, 10**9])}, "begins at a step of its own, of 10000 at most"),
        ({"step": torch.tensor([0])}, "tells of 2 images; send as many"),
        ({"reach": torch.tensor([0.0, 2.0])}, "no parts of a step"),
        ({"guidance": torch.tensor([1.0, torch.inf])}, "a guidance that is not finite"),
        ({"cond": torch.tensor([0, 9])}, "class 9 does not exist"),
        ({"x": torch.zeros(2, 1, 4, 3)}, "send rows of 1x4x4"),
    ],
)
def test_stretch_that_no_expert_can_draw_is_refused_and_the_server_is_asked_again(
    serve, gateway, changed, words
):
    field = gateway([serve().address]).ready().resident[0]
    with pytest.raises(BadInput, match=words):
        field.begin_stretch(some(**changed), lambda: None).result()
    assert len(field.begin_stretch(some(), lambda: None).result()) == 3


def lie(make):
    """A servicer that says something else of a stretch."""

    class Liar(ExpertsServicer):
        def Evaluate(self, requests, context):  # noqa: N802
            for request in requests:
                shape = (request.stretch.evaluations, 3, *request.x_t.shape[1:])
                velocity = encoded(make(torch.zeros(shape)))
                yield wire.EvaluateResponse(number=request.number, velocity=velocity)

    return Liar


@pytest.mark.parametrize(
    "make",
    [
        lambda zero: zero[:0],
        lambda zero: torch.cat([zero, zero]),
        lambda zero: zero[:, 1:],
        lambda zero: zero[0],
        lambda zero: zero / 0,
    ],
    ids=["of nothing", "of too much", "of fewer rows", "of one point", "of no number"],
)
def test_server_that_speaks_of_a_stretch_otherwise_than_an_expert_is_passed_over(
    serve, gateway, make
):
    lying, honest = serve(servicer=lie(make)), serve()
    it = gateway([lying.address, honest.address])
    until(lambda: sum(each.is_open for each in it.pool.replicas()) == 2)
    field = it.ready().resident[0]
    answers = [field.begin_stretch(some(), lambda: None).result() for _ in range(3)]
    assert all(torch.equal(answers[0], each) for each in answers)
    assert answers[0].abs().max() > 0


def test_stretch_shares_the_server_with_rows_that_come_in_between(serve, gateway, networks):
    go_on, begun = threading.Event(), threading.Event()

    def field(network):
        def waiting(*its):
            begun.set()
            assert go_on.wait(30)
            return network(*its)

        return waiting

    expert = gateway([serve([0], field=field).address]).ready(1).resident[0]
    stretch = expert.begin_stretch(some(), lambda: None)
    assert begun.wait(30)
    order = []
    stretch.add_done_callback(lambda _: order.append("stretch"))
    rows = (torch.randn(1, *SHAPE), torch.rand(1), torch.tensor([1]))
    between = expert.begin(*rows, lambda: None)
    between.add_done_callback(lambda _: order.append("rows"))
    until(lambda: expert.pool.replicas()[0].num_rows > 9)
    go_on.set()
    assert torch.equal(between.result(), expected(networks[0], rows))
    stretch.result()
    assert order[0] == "rows"
