"""What a server of several ranks says is what one process would; displaced, what ranks saw."""

from __future__ import annotations

import functools
from concurrent.futures import Future

import pytest
import torch

from atoll.errors import BadInput
from experts.blocks import Attention
from experts.networks import build_network
from serving.engine.stretch import Moving, Stretch
from serving.engine.thrift import THRIFTLESS, Thrift
from serving.expert.evaluator import Evaluator
from serving.expert.rank_fit import refuse_unshared
from serving.expert.ranks import ranks
from serving.expert.room import Room
from serving.expert.served import ServedExpert
from serving.expert.stretches import Drawing
from tests.experts.parallel.scenes import BY_CLASS, SHAPE, SIZES
from tests.experts.parallel.test_displaced import Emulated
from tests.experts.stirred import stirred
from tests.serving.conftest import CPU
from tests.serving.remote.conftest import CLOCK


def experts(num=2, shapes=(SHAPE,)):
    networks = [stirred(build_network(SIZES, BY_CLASS, SHAPE, seed=k), 0.05) for k in range(num)]
    return [ServedExpert(k, "d", it.eval(), BY_CLASS, shapes) for k, it in enumerate(networks)]


@pytest.fixture(params=[False, True], ids=["exact", "displaced"])
def shared(request):
    with ranks(experts(), experts, 2, CPU, displaced=request.param) as (_, shared):
        yield shared, request.param


def stretch(evaluations=4, thrift=THRIFTLESS):
    draw = torch.Generator().manual_seed(0)
    return Stretch(
        x=torch.randn(2, *SHAPE, generator=draw),
        cond=torch.tensor([0, 2]),
        step=torch.tensor([2, 3]),
        steps=torch.tensor([8.0, 9.0]).double(),
        reach=torch.zeros(2),
        weight=torch.zeros(2),
        guidance=torch.tensor([1.0, 2.0]),
        evaluations=evaluations,
        thrift=thrift,
    )


DISPLACED = Thrift(displaced=True)


def drawn(expert, evaluator, evaluations=4, thrift=DISPLACED):
    """What a server says of a stretch, to whom may be told of tokens a step old."""
    answer = Future()
    Drawing(
        expert=expert,
        stretch=stretch(evaluations, thrift),
        dtype=torch.float32,
        row_by_row=False,
        due_at=float("inf"),
        evaluator=evaluator,
        clock=CLOCK,
        room=Room(2**20),
        answer=answer.set_result,
    ).begin()
    return answer.result(60).velocity


@torch.inference_mode()
def expected(field):
    moving, said = Moving(stretch(), BY_CLASS), []
    for _ in range(4):
        rows = moving.rows
        said.append(field(rows.x, rows.t, rows.cond))
        moving.move(said[-1])
    return torch.stack(said)


@pytest.fixture
def evaluator():
    it = Evaluator(32, 64, CPU, CLOCK)
    it.start()
    yield it
    it.stop()


@torch.inference_mode()
def test_ranks_draw_a_stretch_as_one_process_or_with_others_tokens_a_step_old(shared, evaluator):
    (first, second), is_displaced = shared
    its = experts()
    exact = expected(its[1].field)
    for module in its[1].field.modules() if is_displaced else ():
        if isinstance(module, Attention):
            module.attend = Emulated(2)
    true = expected(its[1].field)
    for _ in range(2):  # what was kept of the first is of no other
        torch.testing.assert_close(drawn(second, evaluator), true, rtol=1e-4, atol=1e-5)
    # Who does not ask for it is told as by one process.
    plain = drawn(second, evaluator, thrift=THRIFTLESS)
    torch.testing.assert_close(plain, exact, rtol=1e-4, atol=1e-5)
    off = (true - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert off[0] == 0
    assert (off[1:] > 1e-4).all() == is_displaced
    x, t, cond = torch.randn(3, *SHAPE), torch.rand(3), torch.tensor([0, 1, 3])
    alone = experts()[0].field(x, t, cond)
    torch.testing.assert_close(first.field(x, t, cond), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("num", "shapes", "words"),
    [
        (3, (SHAPE,), "ranks = 3 does not divide the 4 heads of expert 0"),
        (4, (SHAPE, (1, 4, 6)), "ranks = 4 does not divide the 6 tokens of an image of expert 0"),
    ],
)
def test_ranks_that_divide_neither_heads_nor_tokens_are_refused(num, shapes, words):
    with pytest.raises(BadInput, match=words):
        refuse_unshared(experts(1, shapes)[0], num)


def test_ranks_of_a_network_that_attends_to_text_as_well_are_not_displaced():
    from tests.experts.parallel.scenes import BY_TEXT, JOINT

    network = build_network(JOINT, BY_TEXT, SHAPE, seed=0)
    joint = ServedExpert(5, "d", network, BY_TEXT, (SHAPE,))
    words = "displaced = true is for DiTs of images, and expert 5 is none; set it to false"
    with (
        pytest.raises(BadInput, match=words),
        ranks([joint], functools.partial(experts, 1), 2, CPU, displaced=True),
    ):
        pass
