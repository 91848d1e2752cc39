"""Displaced attention is that of a process alone, in which others' tokens are a step old."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import distributed
from torch.nn import functional as F

from experts.blocks import Attention
from experts.networks import build_network
from experts.parallel.displaced import displace
from experts.parallel.sequence import share_tokens
from tests.experts.parallel.scenes import BY_CLASS, SHAPE, SIZES
from tests.experts.stirred import stirred
from tests.ranks import ranks


def network():
    return stirred(build_network(SIZES, BY_CLASS, SHAPE, seed=0), 0.05).eval()


def walk(num_rows=2, num=4):
    """Points of a path, near each other."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(num_rows, *SHAPE, generator=draw)
    for step in range(num):
        yield x + 0.3 * step * torch.randn(x.shape, generator=draw), torch.full((num_rows,), 0.9)


@torch.no_grad()
def played(rows_of_each):
    """What a rank answers at each point, told of these rows."""
    own, group = network(), distributed.group.WORLD
    share_tokens(own, group)
    layers = displace(own, group)
    answers = []
    for (x, t), rows in zip(walk(), rows_of_each, strict=True):
        for layer in layers:
            layer.expect(rows)
        answers.append(own(x, t, torch.tensor([0, 2])))
    for layer in layers:
        layer.expect(None, gone=(1, 2, 5, 7))
        assert not layer._before
    return answers


class Emulated:
    """All ranks' attention in one process, the others' tokens as they were at the point before."""

    def __init__(self, num):
        self.num, self.before, self.is_exact = num, None, False

    def __call__(self, query, key, value):
        now = torch.stack([key, value])
        before = now if self.before is None or self.is_exact else self.before
        self.before = now
        size = query.shape[2] // self.num
        mixed = []
        for rank in range(self.num):
            own = slice(rank * size, (rank + 1) * size)
            whole = before.clone()
            whole[:, :, :, own] = now[:, :, :, own]
            mixed.append(F.scaled_dot_product_attention(query[:, :, own], *whole))
        return torch.cat(mixed, 2)


@torch.no_grad()
def emulated(num, exact=()):
    own, layers, answers = network(), [], []
    for module in own.modules():
        if isinstance(module, Attention):
            module.attend = Emulated(num)
            layers.append(module.attend)
    for step, (x, t) in enumerate(walk()):
        for layer in layers:
            layer.is_exact = step in exact
        answers.append(own(x, t, torch.tensor([0, 2])))
    return answers


@pytest.fixture(scope="module", params=[2, 4])
def group(request, tmp_path_factory):
    with ranks(request.param, tmp_path_factory.mktemp("ranks")) as group:
        yield request.param, group


@torch.no_grad()
def exact():
    own = network()
    return [own(x, t, torch.tensor([0, 2])) for x, t in walk()]


near = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def test_rows_that_come_again_see_the_tokens_of_others_as_they_were(group):
    num, it = group
    for answers in it.call(played, [(5, 7)] * 4):
        near(answers, emulated(num))
    for displaced, true in zip(answers[1:], exact()[1:], strict=True):
        assert 1e-4 < (displaced - true).norm() / true.norm() < 0.5


def test_rows_that_do_not_come_again_are_exact_and_so_is_the_first_of_others(group):
    _, it = group
    for answers in it.call(played, [None] * 4):
        near(answers, exact())
    for answers in it.call(played, [(5, 7), None, (1, 2), None]):
        near(answers, exact())
