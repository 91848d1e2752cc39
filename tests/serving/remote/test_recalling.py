"""What servers reuse within a stretch is what was said of it, and nothing else is."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from atoll.errors import BadInput
from atoll.wire.v1 import experts_pb2 as wire
from experts.reuse import velocity_again, velocity_anew
from serving.engine.stretch import Moving, Stretch
from serving.engine.thrift import THRIFTLESS, Thrift
from serving.expert.evaluator import Asked
from serving.expert.recalling import Recalling, recalling
from serving.expert.served import ServedExpert
from serving.expert.stretches import stretch_of
from serving.remote.rows import StretchAsked
from tests.serving.conftest import CLASSES, CPU, SHAPE, request_of
from tests.serving.engine.test_deterministic import drawn
from tests.serving.engine.test_reuse import Spying
from tests.serving.remote.conftest import digest
from tests.serving.remote.test_images import drawn_elsewhere

BOUND = [request_of("bound", [1, 2], steps=12, strategy="ancestral", guidance=2.0)]


@pytest.fixture
def spied(networks):
    """Experts whose blocks count the rows that they are asked about."""
    return [Spying(network) for network in networks]


@pytest.fixture
def started(serve, spied):
    """A server that may reuse, and what each of its experts has added."""
    fields = {id(network.network): Recalling(network) for network in spied}
    server = serve(field=lambda network: fields[id(network)])
    return server, list(fields.values())


def asked(thrift, **changed):
    images = Stretch(
        x=torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)),
        cond=torch.tensor([0, 1]),
        step=torch.tensor([0, 3]),
        steps=torch.tensor([12, 24]).double(),
        reach=torch.zeros(2),
        weight=torch.zeros(2),
        guidance=torch.tensor([1.0, 2.0]),
        evaluations=9,
        thrift=thrift,
    )
    stretch = dataclasses.replace(images, **changed)
    return StretchAsked(0, digest(0), stretch, row_by_row=False, dtype=torch.float32)


def said(gateway, server, stretch):
    experts = gateway([server.address], row_by_row=False).ready()
    return experts.resident[0].pool.begin(stretch, lambda: None).result()


def by_hand(network, stretch, is_again):
    """The velocities of a stretch, whose blocks are asked unless ``is_again`` of the evaluation."""
    moving, every, added = Moving(stretch, CLASSES), [], None
    with torch.inference_mode():
        for number in range(stretch.evaluations):
            rows = moving.rows
            if is_again(number):
                velocity = velocity_again(network, rows.x, rows.t, rows.cond, added)
            else:
                velocity, added = velocity_anew(network, rows.x, rows.t, rows.cond)
            every.append(velocity)
            moving.move(velocity)
    return torch.stack(every)


def test_blocks_of_a_stretch_are_asked_as_often_as_it_says(started, gateway, spied, networks):
    server, fields = started
    it = asked(Thrift(blocks=3))
    velocity = said(gateway, server, it)
    wanted = by_hand(networks[0], it.stretch, lambda number: number % 3)
    torch.testing.assert_close(velocity, wanted, rtol=1e-4, atol=1e-5)
    assert spied[0].num_rows == 3 * it.stretch.num_rows
    assert fields[0]._added == {}  # it is over


def test_blocks_are_asked_sooner_where_an_image_has_changed_by_more(
    started, gateway, spied, networks
):
    server, _ = started
    exact = said(gateway, server, asked(Thrift(blocks=9, change=1e-9)))
    torch.testing.assert_close(
        exact, by_hand(networks[0], asked(THRIFTLESS).stretch, lambda _: False)
    )
    always = spied[0].num_rows
    assert always == 9 * 3
    said(gateway, server, asked(Thrift(blocks=9, change=0.05)))
    sooner = spied[0].num_rows - always
    said(gateway, server, asked(Thrift(blocks=9)))
    once = spied[0].num_rows - always - sooner
    assert once == 3 < sooner < always


def test_images_of_a_server_that_reuses_are_those_of_a_service_that_does(
    started, gateway, make_engine, spied
):
    server, _ = started
    thrift = Thrift(blocks=4)
    here = drawn(make_engine(thrift=thrift), BOUND)
    experts = gateway([server.address], row_by_row=False).ready()
    there = drawn_elsewhere(make_engine(experts=experts, most_steps=64, thrift=thrift), BOUND)
    # All of it is one stretch, whose blocks are asked three times: for two images, twice each.
    assert sum(each.num_rows for each in spied) == 3 * 2 * 2
    torch.testing.assert_close(there["bound"], here["bound"], rtol=1e-4, atol=1e-4)
    exact = drawn(make_engine(), BOUND)["bound"]
    assert 0.01 < (there["bound"] - exact).norm() / exact.norm() < 0.5


def test_rows_that_reuse_differently_share_no_batch(networks):
    field = Recalling(networks[0])
    expert = ServedExpert(0, "d", field, CLASSES, (SHAPE,))

    def rows(thrift, numbers):
        x, t = torch.zeros(1, *SHAPE), torch.zeros(1)
        return Asked(expert, x, t, None, False, 0.0, 1.0, print, numbers, thrift)

    assert rows(Thrift(2), (0,)).goes_with(rows(Thrift(2), (1,)))
    assert not rows(Thrift(2), (0,)).goes_with(rows(Thrift(3), (1,)))
    assert not rows(Thrift(2), (0,)).goes_with(rows(THRIFTLESS, None))
    assert rows(THRIFTLESS, None).goes_with(rows(THRIFTLESS, None))
    assert field.heeds(Thrift(2))
    assert not field.heeds(THRIFTLESS)


def test_experts_without_such_parts_are_served_as_they_are(networks):
    shares = [networks[0], lambda x, *_: x]
    experts = [ServedExpert(k, "d", it, CLASSES, (SHAPE,)) for k, it in enumerate(shares)]
    first, second = recalling(experts)
    assert isinstance(first.field, Recalling)
    assert second is experts[1]


@pytest.mark.parametrize("change", [0.0, -1.0, math.nan])
def test_stretch_that_reuses_up_to_no_change_is_refused(networks, change):
    told = asked(THRIFTLESS).request(1.0).stretch
    told.reuse_change = change
    stretch = asked(THRIFTLESS).stretch
    expert = ServedExpert(0, "d", networks[0], CLASSES, (SHAPE,))
    with pytest.raises(BadInput, match="up to a change that is not above 0"):
        stretch_of(told, expert, stretch.x, stretch.cond)


def test_stretch_says_what_it_reuses_and_one_that_says_nothing_reuses_nothing(networks):
    expert = ServedExpert(0, "d", networks[0], CLASSES, (SHAPE,))
    for thrift in (THRIFTLESS, Thrift(3), Thrift(5, 0.25)):
        it = asked(thrift)
        read = stretch_of(it.request(1.0).stretch, expert, it.stretch.x, it.stretch.cond)
        assert read.thrift == thrift
    told = asked(THRIFTLESS).request(1.0).stretch
    told.ClearField("reuse_blocks")
    assert isinstance(told, wire.Stretch)
    it = asked(THRIFTLESS)
    assert stretch_of(told, expert, it.stretch.x, it.stretch.cond).thrift == THRIFTLESS
    assert it.stretch.x.device == CPU


def test_rows_of_a_batch_that_raised_are_asked_anew(serve, gateway, networks):
    failing = [True]

    class Failing(Recalling):
        def again(self, *its):
            said = super().again(*its)
            if failing and self._added and len(calls) == 2:
                failing.clear()
                raise RuntimeError("once")
            calls.append(its)
            return said

    calls = []
    server = serve(field=Failing)
    velocity = said(gateway, server, asked(Thrift(blocks=3)))
    # The third evaluation raised after it had counted, and the stretch ended there.
    assert len(velocity) == 2
    assert not failing
